//! `twinhull vm`: boots an image with its console in the terminal.
//!
//! By `twinhull-qemu run`, which knows firmware, accelerators and credentials: a program of its own, so that who only builds
//! images needs no virtual machines.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::{preflight, tools};

/// The program that runs virtual machines.
const PROGRAM: &str = "twinhull-qemu";

/// Becomes `twinhull-qemu run`. Returns only when that cannot be.
///
/// # Errors
/// The image or the program is not there.
pub fn run(image: &Path, memory: Option<u32>, accelerator: Option<&str>) -> Result<std::convert::Infallible> {
    // A build's manifest is as good a name for it as its disk.
    let image = if image.extension().is_some_and(|ending| ending == "json") {
        image.with_extension("raw")
    } else {
        image.to_owned()
    };
    preflight::file(&image, "IMAGE")?;
    let program = find().ok_or_else(|| {
        Error::Usage(format!(
            "{PROGRAM} is neither beside this program nor in PATH; it comes with Twinhull (cargo build -p twinhull-qemu)"
        ))
    })?;
    let mut command = Command::new(&program);
    command.arg("run").arg(&image);
    if let Some(memory) = memory {
        command.arg("--memory").arg(memory.to_string());
    }
    if let Some(accelerator) = accelerator {
        command.arg("--accelerator").arg(accelerator);
    }
    let error = command.exec();
    Err(Error::Usage(format!(
        "{} cannot be started: {error}",
        program.display()
    )))
}

/// Beside this program, as both are built and installed together, or where programs are.
fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).or_else(|| tools::find(PROGRAM))
}
