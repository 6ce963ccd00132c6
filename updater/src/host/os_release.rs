//! `os-release(5)`: which image runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use twinhull_layout::{Product, Version};

use crate::paths::Paths;

/// Longest file that is read, in bytes.
const MAX_SIZE: u64 = 64 * 1024;

/// os-release does not say what runs.
#[derive(Debug, thiserror::Error)]
pub enum OsReleaseError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A field is missing or has another form.
    #[error("{}: {field} {problem}: this host was not booted from a Twinhull image", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// `IMAGE_ID` and `IMAGE_VERSION`.
///
/// Only the file in `/usr` is read: it is part of the verified image, `/etc` may have been changed.
pub(super) fn read(paths: &Paths) -> Result<(Product, Version), OsReleaseError> {
    let path = paths.at("/usr/lib/os-release");
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_SIZE).read_to_string(&mut text))
        .map_err(|source| OsReleaseError::Read {
            path: path.clone(),
            source,
        })?;
    let field = |name: &'static str| {
        value(&text, name).ok_or_else(|| OsReleaseError::Field {
            path: path.clone(),
            field: name,
            problem: "is missing".to_owned(),
        })
    };
    let wrong = |field, problem: twinhull_layout::ParseError| OsReleaseError::Field {
        path: path.clone(),
        field,
        problem: problem.to_string(),
    };
    let product = field("IMAGE_ID")?.parse().map_err(|error| wrong("IMAGE_ID", error))?;
    let version = field("IMAGE_VERSION")?
        .parse()
        .map_err(|error| wrong("IMAGE_VERSION", error))?;
    Ok((product, version))
}

/// The value of `name`, without the quotes that the shell would take away. Ours need no escapes.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let assigned = text
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|quote| assigned.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(unquoted.unwrap_or(assigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_the_last_assignment_counts() {
        let text = "IMAGE_ID=\"twinhull-server\"\nIMAGE_VERSION=1.0.0\nIMAGE_VERSION='1.1.0'\nIMAGE_ID_LIKE=x\n";
        assert_eq!(value(text, "IMAGE_ID"), Some("twinhull-server"));
        assert_eq!(value(text, "IMAGE_VERSION"), Some("1.1.0"));
        assert_eq!(value(text, "VERSION"), None);
    }

    #[test]
    fn missing_field_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        std::fs::write(root.path().join("usr/lib/os-release"), "ID=debian\n").unwrap();
        let error = read(&Paths::below(root.path())).unwrap_err().to_string();
        assert!(error.contains("IMAGE_ID is missing"), "{error}");
    }
}
