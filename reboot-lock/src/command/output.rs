//! What the commands print.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::CommandError;

/// `value` as JSON for people and programs.
pub(super) fn json(value: &impl Serialize) -> Result<String, CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other);
    Ok(text.map_err(CommandError::system("write JSON"))? + "\n")
}

/// Prints `text` on standard output.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), CommandError> {
    match std::io::stdout().lock().write_all(text.as_ref().as_bytes()) {
        // Whoever reads only the first lines (`| head`) has what they wanted.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(CommandError::system("print the answer")),
    }
}
