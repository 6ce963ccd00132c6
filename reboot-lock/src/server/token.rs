//! The bearer token of the administration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The shortest token, in bytes: what 80 random bits need in base 32.
pub const MIN_TOKEN: usize = 16;

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 1024;

/// A token, kept as its hash: comparing hashes tells nothing about the token by how long it takes.
pub struct Token([u8; 32]);

/// Why a token could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The operating system would not give the file.
    #[error("cannot read the token in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Everybody may read it.
    #[error("the token in {} can be read by every user; run `chmod o-rwx` on it", .0.display())]
    Open(PathBuf),
    /// It is not a usable token.
    #[error(
        "the token in {} is not {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters; \
         make one with `head -c 24 /dev/urandom | base64`",
        .0.display()
    )]
    Unusable(PathBuf),
}

/// Reads the token in the file at `path`, without the white space around it.
///
/// # Errors
/// [`TokenError`].
pub fn read(path: &Path) -> Result<String, TokenError> {
    let failed = |source| TokenError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o007 != 0 {
        return Err(TokenError::Open(path.to_owned()));
    }
    let mut text = Vec::new();
    file.take(MAX_TOKEN as u64 + 2).read_to_end(&mut text).map_err(failed)?;
    let token = text.trim_ascii();
    let usable = (MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    match String::from_utf8(token.to_vec()) {
        Ok(token) if usable => Ok(token),
        _ => Err(TokenError::Unusable(path.to_owned())),
    }
}

impl Token {
    /// What [`matches`](Self::matches) `token`.
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether `shown` is the token.
    pub fn matches(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        shown == self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(content: &str, mode: u32) -> Result<String, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        read(file.path())
    }

    #[test]
    fn token_is_read_without_its_line_end() {
        assert_eq!(token_of("0123456789abcdef\n", 0o640).unwrap(), "0123456789abcdef");
    }

    #[test]
    fn token_that_is_open_short_or_long_is_refused() {
        assert!(matches!(
            token_of("0123456789abcdef\n", 0o644),
            Err(TokenError::Open(_))
        ));
        for content in ["", "short", "two words of a token", &"x".repeat(MAX_TOKEN + 1)] {
            assert!(
                matches!(token_of(content, 0o600), Err(TokenError::Unusable(_))),
                "{content}"
            );
        }
    }

    #[test]
    fn only_the_same_token_matches() {
        let token = Token::new("0123456789abcdef");
        assert!(token.matches(b"0123456789abcdef"));
        for other in [&b""[..], b"0123456789abcde", b"0123456789abcdeF", b"0123456789abcdef "] {
            assert!(!token.matches(other));
        }
    }
}
