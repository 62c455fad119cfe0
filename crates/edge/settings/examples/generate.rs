//! Writes the configuration reference and the JSON Schema into `docs/reference`.
//!
//! Run it after a change to the configuration: `cargo run -p settings --example generate`. A
//! test compares the files with what the code says.

use std::io::Write as _;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("configuration.md"), settings::reference())?;
    let mut file = std::fs::File::create(folder.join("schema.json"))?;
    serde_json::to_writer_pretty(&mut file, &settings::schema())?;
    file.write_all(b"\n")
}
