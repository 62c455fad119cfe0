//! Writes the references and the JSON Schemas into `docs/reference`.
//!
//! Run it after a change to the configuration, to rules or to drills: `cargo run -p settings --example
//! generate`. A test compares the files with what the code says.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in [
        ("configuration.md", settings::reference()),
        ("rules.md", settings::rules::reference()),
        ("schema.json", format!("{:#}\n", settings::schema())),
        ("drills.md", settings::drill_reference()),
        ("drill.schema.json", format!("{:#}\n", settings::drill_schema())),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
