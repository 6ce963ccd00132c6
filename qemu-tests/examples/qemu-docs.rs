//! Writes the page about scenario files into `docs/`.
//!
//! `cargo run -p twinhull-qemu --example qemu-docs`

use std::path::Path;

use twinhull_qemu::scenario::file::reference;

fn main() -> std::io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::write(docs.join("scenario-file.md"), reference::markdown())
}
