//! Whether a file can be the key of a package archive: apt says so only after it has fetched the archive's index.
//!
//! Specification: RFC 9580, OpenPGP: packets (4.2), armour (6.2). Packets are walked, not understood: a key that was cut short, or is
//! none behind its first line, is found; one that signs something else is not.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bounded;

/// The longest key file, in bytes: a keyring with all of Debian's keys has a tenth.
pub(super) const MAX_SIZE: u64 = 1 << 20;

/// What is between the lines of armour.
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Kinds of packets.
const PUBLIC_KEY: u8 = 6;
const SECRET_KEYS: [u8; 2] = [5, 7];

const PRIVATE: &str = "is a private key; an image is given the public one";
const NO_KEY: &str = "is no OpenPGP key; export it with `gpg --export --armor`";
const DAMAGED: &str = "begins as an OpenPGP key and does not go on as one; export it anew with `gpg --export --armor`";

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
    let bytes =
        bounded::read(path, MAX_SIZE).map_err(|error| format!("the key {} cannot be read: {error}", path.display()))?;
    of(&bytes).map_err(|problem| format!("{} {problem}", path.display()))
}

fn of(bytes: &[u8]) -> Result<Encoding, &'static str> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
    if head.contains("PRIVATE KEY BLOCK") {
        return Err(PRIVATE);
    }
    if head.trim_start().starts_with(BEGIN) {
        let text = std::str::from_utf8(bytes).map_err(|_| DAMAGED)?;
        return packets(&unarmoured(text).ok_or(DAMAGED)?).map(|()| Encoding::Armoured);
    }
    packets(bytes).map(|()| Encoding::Binary)
}

/// The bytes that armoured `text` stands for: those of one block or several, one after the other.
fn unarmoured(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    while let Some(first) = lines.next() {
        if first.is_empty() {
            continue;
        }
        if first != BEGIN {
            return None;
        }
        let mut base64 = String::new();
        // Headers, of which a block may have none, end with a blank line.
        lines.by_ref().find(|line| line.is_empty())?;
        loop {
            match lines.next()? {
                END => break,
                // The checksum, which those who read keys are told to ignore.
                sum if sum.starts_with('=') => {}
                line => base64.push_str(line),
            }
        }
        bytes.extend(STANDARD.decode(base64).ok()?);
    }
    Some(bytes)
}

/// Fails unless `bytes` are whole packets, the first of them a public key, and none a private one.
fn packets(bytes: &[u8]) -> Result<(), &'static str> {
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let found = packet(rest);
        let Some((kind, after)) = found else {
            // What is no packet may still be a private key that was cut short.
            let kind = kind(rest[0]).map(|(kind, _)| kind);
            return Err(match (first, kind) {
                (_, Some(kind)) if SECRET_KEYS.contains(&kind) => PRIVATE,
                (true, Some(PUBLIC_KEY)) | (false, _) => DAMAGED,
                (true, _) => NO_KEY,
            });
        };
        if SECRET_KEYS.contains(&kind) {
            return Err(PRIVATE);
        }
        if first && kind != PUBLIC_KEY {
            return Err(NO_KEY);
        }
        (first, rest) = (false, after);
    }
    if first { Err(NO_KEY) } else { Ok(()) }
}

/// The kind that the first byte of a packet says, and whether its length is in the newer form.
const fn kind(first: u8) -> Option<(u8, bool)> {
    match first {
        0x80..=0xBF => Some((first >> 2 & 0xF, false)),
        0xC0..=0xFF => Some((first & 0x3F, true)),
        _ => None,
    }
}

/// The kind of the first packet, and what follows it; nothing when it is none, or not whole.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (kind, is_new) = kind(*first)?;
    let number = |from: usize, count: usize| {
        let digits = rest.get(from..from + count)?;
        Some(digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)))
    };
    let (size, header) = if is_new {
        match number(0, 1)? {
            short @ 0..=191 => (short, 1),
            192..=223 => (number(0, 2)? - (192 << 8) + 192, 2),
            255 => (number(1, 4)?, 5),
            // Of unknown length, which no key has.
            _ => return None,
        }
    } else {
        match first & 3 {
            0 => (number(0, 1)?, 1),
            1 => (number(0, 2)?, 2),
            2 => (number(0, 4)?, 4),
            _ => return None,
        }
    };
    Some((kind, rest.get(header + size..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A public key packet and a user id, in the old and in the new form.
    const OLD: [u8; 9] = [0x99, 0, 3, 4, 1, 2, 0xB4, 1, b'x'];
    const NEW: [u8; 8] = [0xC6, 3, 4, 1, 2, 0xCD, 1, b'x'];

    fn armoured(bytes: &[u8]) -> String {
        format!("{BEGIN}\nComment: x\n\n{}\n=abcd\n{END}\n", STANDARD.encode(bytes))
    }

    #[test]
    fn keys_are_told_from_anything_else() {
        assert_eq!(of(armoured(&OLD).as_bytes()), Ok(Encoding::Armoured));
        assert_eq!(
            of((armoured(&OLD) + "\n" + &armoured(&NEW)).as_bytes()),
            Ok(Encoding::Armoured)
        );
        assert_eq!(of(&OLD), Ok(Encoding::Binary));
        assert_eq!(of(&NEW), Ok(Encoding::Binary));
        for private in [&b"-----BEGIN PGP PRIVATE KEY BLOCK-----"[..], &[0x95, 1], &[0xC5, 1, 4]] {
            assert_eq!(of(private), Err(PRIVATE));
        }
        for other in [&b"deb http://"[..], b"", &[0xB4, 1, b'x']] {
            assert_eq!(of(other), Err(NO_KEY));
        }
    }

    #[test]
    fn key_that_ends_too_early_or_goes_on_as_something_else_is_none() {
        for key in [&OLD[..], &NEW] {
            for length in 1..key.len() {
                // Between two packets it ends where another key could.
                assert_eq!(of(&key[..length]).is_ok(), length == key.len() - 3, "{length}");
            }
            assert_eq!(of(&[key, b"text"].concat()), Err(DAMAGED));
        }
        let text = armoured(&OLD);
        for spoilt in [
            format!("{BEGIN}\n\n"),
            format!("{BEGIN}\ngarbage\n"),
            format!("{BEGIN}\n\n!!!!\n{END}\n"),
            text.replace(END, ""),
            text.clone() + "more",
        ] {
            assert_eq!(of(spoilt.as_bytes()), Err(DAMAGED), "{spoilt}");
        }
    }
}
