//! `xz`: decompresses kernel modules.

use std::path::PathBuf;

use super::Log;
use super::root::ToolRoot;
use crate::error::Result;

/// How many files one call gets: well below the limit on the length of a command line.
const FILES_PER_CALL: usize = 500;

/// Replaces each `NAME.xz` by `NAME`.
pub fn decompress(log: &Log, tools: &ToolRoot, files: &[PathBuf]) -> Result<()> {
    for files in files.chunks(FILES_PER_CALL) {
        log.run(
            "decompressing kernel modules",
            tools.command("xz").args(["--decompress", "--quiet"]).args(files),
        )?;
    }
    Ok(())
}
