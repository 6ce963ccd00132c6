//! Whether a file can be the key of a package archive: apt says so only after it has fetched the archive's index.

use std::path::Path;

/// The longest key file, in bytes: a keyring with all of Debian's keys has a tenth.
const MAX_SIZE: u64 = 1 << 20;

/// How apt must be given the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Text between dashes.
    Armoured,
    /// OpenPGP packets.
    Binary,
}

impl Encoding {
    /// The ending by which apt tells them apart.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Armoured => "asc",
            Self::Binary => "gpg",
        }
    }
}

/// Finds out how the key in `path` is encoded. The error says why it is none.
pub fn encoding(path: &Path) -> Result<Encoding, String> {
    let meta = path
        .metadata()
        .map_err(|error| format!("the key {} cannot be read: {error}", path.display()))?;
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Err(format!("{} is no key: not a file of at most 1 MiB", path.display()));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("the key {} cannot be read: {error}", path.display()))?;
    of(&bytes).map_err(|problem| format!("{} {problem}", path.display()))
}

fn of(bytes: &[u8]) -> Result<Encoding, &'static str> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
    if head.contains("PRIVATE KEY BLOCK") {
        return Err("is a private key; an image is given the public one");
    }
    if head.trim_start().starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        return Ok(Encoding::Armoured);
    }
    // The first packet of a transferable key is a public key: tag 6, in the old or the new format (RFC 9580, 4.2).
    match bytes.first().copied() {
        Some(0xC6 | 0x98..=0x9B) => Ok(Encoding::Binary),
        Some(0xC5 | 0x94..=0x97) => Err("is a private key; an image is given the public one"),
        _ => Err("is no OpenPGP key; export it with `gpg --export --armor`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_anything_else() {
        assert_eq!(of(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"), Ok(Encoding::Armoured));
        assert_eq!(of(&[0x99, 1, 0x0d, 4]), Ok(Encoding::Binary));
        assert!(
            of(b"-----BEGIN PGP PRIVATE KEY BLOCK-----")
                .unwrap_err()
                .contains("private")
        );
        assert!(of(&[0x95, 1]).unwrap_err().contains("private"));
        assert!(of(b"deb http://").is_err() && of(b"").is_err());
    }
}
