//! TOML files read strictly: an unknown key is an error with file, line and nearest known key.
//!
//! The types that are read must carry `#[serde(deny_unknown_fields)]`; this crate turns what the parser then reports into
//! one sentence that a person can act on.

mod parts;

pub use parts::{Part, Parts};

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The longest file that is read, in bytes. Real ones have a few kilobytes.
pub const MAX_SIZE: u64 = 1024 * 1024;

/// A file that could not be read or does not mean what its format allows.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operating system would not give the file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is longer than [`MAX_SIZE`].
    #[error("cannot read {}: it is longer than {MAX_SIZE} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A key that the format does not have.
    #[error("{}:{line}: unknown key `{key}`{}", path.display(), hint(nearest.as_deref(), known))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key as written.
        key: String,
        /// The known key most like it, if one is near.
        nearest: Option<String>,
        /// All keys that are known in that place.
        known: Vec<String>,
    },
    /// A value that is none of the words which may stand there.
    #[error("{}:{line}: unknown word `{word}`{}", path.display(), hint(nearest.as_deref(), known))]
    UnknownWord {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The word as written.
        word: String,
        /// The known word most like it, if one is near.
        nearest: Option<String>,
        /// All words that are known in that place.
        known: Vec<String>,
    },
    /// Anything else: syntax, a wrong type, a value out of its range, a missing key.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The parser's reason.
        message: String,
    },
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known here: {}", known.join(", ")),
    }
}

/// Reads the TOML file at `path` as a `T`.
///
/// # Errors
/// See [`ConfigError`]; each names the file and, once it could be read, the line.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse(&read_text(path)?, path)
}

/// Reads the text of the file at `path`.
///
/// # Errors
/// [`ConfigError::Read`] or [`ConfigError::TooLong`].
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_SIZE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

/// Parses `text` as a `T`; `origin` is the path to name in errors.
///
/// # Errors
/// [`ConfigError::UnknownKey`] or [`ConfigError::Invalid`].
pub fn parse<T: DeserializeOwned>(text: &str, origin: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| explain(&error, text, origin))
}

fn explain(error: &toml::de::Error, text: &str, origin: &Path) -> ConfigError {
    let line = error.span().map_or(1, |span| line_at(text, span.start));
    let path = origin.to_owned();
    let message = error.message();
    if let Some((key, known)) = quoted_after("unknown field ", message) {
        let nearest = nearest(&key, &known);
        return ConfigError::UnknownKey {
            path,
            line,
            key,
            nearest,
            known,
        };
    }
    if let Some((word, known)) = quoted_after("unknown variant ", message) {
        let nearest = nearest(&word, &known);
        return ConfigError::UnknownWord {
            path,
            line,
            word,
            nearest,
            known,
        };
    }
    ConfigError::Invalid {
        path,
        line,
        message: message.to_owned(),
    }
}

/// The line, from 1, of the byte at `position`.
fn line_at(text: &str, position: usize) -> usize {
    let before = text.get(..position).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// Takes apart serde's own sentences: "unknown field `a`, expected `b` or `c`", or "unknown variant". The quoted words are what was
/// written and what is known; serde offers them in no other form.
fn quoted_after(beginning: &str, message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(beginning)?;
    let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.collect()))
}

/// The name among `known` that is most like `key`, if one is near.
#[must_use]
pub fn nearest(key: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code)]
        product: String,
        #[expect(dead_code)]
        disk: Option<Disk>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Disk {
        #[expect(dead_code)]
        slot_size: u64,
        #[expect(dead_code)]
        bus: Option<Bus>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Bus {
        Virtio,
        Nvme,
    }

    fn error(text: &str) -> String {
        parse::<Sample>(text, Path::new("server.toml")).unwrap_err().to_string()
    }

    #[test]
    fn unknown_key_names_file_line_and_nearest() {
        assert_eq!(
            error("# first\nproduct = \"p\"\n[disk]\nslot_sise = 3\n"),
            "server.toml:4: unknown key `slot_sise`; did you mean `slot_size`?"
        );
    }

    #[test]
    fn key_like_nothing_known_lists_what_is() {
        assert_eq!(
            error("product = \"p\"\nxyzzy = 1\n"),
            "server.toml:2: unknown key `xyzzy`; known here: product, disk"
        );
    }

    #[test]
    fn unknown_word_names_the_nearest() {
        assert_eq!(
            error("product = \"p\"\n[disk]\nslot_size = 1\nbus = \"vitrio\"\n"),
            "server.toml:4: unknown word `vitrio`; did you mean `virtio`?"
        );
    }

    #[test]
    fn syntax_and_type_errors_name_their_line() {
        assert!(error("product = \"p\"\nproduct = [\n").starts_with("server.toml:2: "));
        assert!(error("\n\nproduct = 3\n").starts_with("server.toml:3: invalid type"));
    }

    #[test]
    fn file_without_end_is_refused() {
        let error = read::<Sample>(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, ConfigError::TooLong { .. }), "{error}");
    }
}
