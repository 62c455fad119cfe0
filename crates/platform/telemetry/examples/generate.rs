//! Writes the metric reference of the documentation from the catalogue.

fn main() -> std::io::Result<()> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/metrics.md");
    std::fs::write(page, telemetry::catalogue::reference())
}
