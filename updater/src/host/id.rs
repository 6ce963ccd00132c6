//! The name under which this host asks for the reboot lock: stable, unique, and not the machine id itself, which systemd asks
//! to keep confidential (`machine-id(5)`).

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::paths::Paths;

/// Names this application among all that derive an id from the machine id.
pub const APPLICATION: [u8; 16] = [
    0x8f, 0x1d, 0x5c, 0x2b, 0xa6, 0x4e, 0x4b, 0x0c, 0x9d, 0x3e, 0x71, 0xf0, 0xa2, 0x5b, 0x6c, 0x94,
];

/// Block size of SHA-256, in bytes.
const BLOCK: usize = 64;

/// This host has no machine id.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file does not hold 32 hexadecimal digits.
    #[error("{} does not hold a machine id; systemd writes one at the first boot", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// The id of this host, 32 hexadecimal digits: what `systemd-id128 machine-id --app-specific=` gives for [`APPLICATION`].
///
/// # Errors
/// There is no machine id (yet).
pub fn host_id(paths: &Paths) -> Result<String, IdError> {
    let path = paths.at("/etc/machine-id");
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(64).read_to_string(&mut text))
        .map_err(|source| IdError::Read {
            path: path.clone(),
            source,
        })?;
    let mut machine = [0; 16];
    hex::decode_to_slice(text.trim(), &mut machine).map_err(|_| IdError::Form { path })?;
    Ok(hex::encode(app_specific(&machine, &APPLICATION)))
}

/// `sd_id128_get_machine_app_specific(3)`: HMAC-SHA256 keyed with the machine id, cut to a version 4 UUID.
fn app_specific(machine: &[u8; 16], application: &[u8; 16]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&hmac(machine, application)[..16]);
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

/// HMAC (RFC 2104) for keys of up to one block.
fn hmac(key: &[u8; 16], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        for (padded, key) in block.iter_mut().zip(key) {
            *padded ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_the_one_systemd_derives() {
        // systemd-id128 machine-id --app-specific=8f1d5c2ba64e4b0c9d3e71f0a25b6c94, systemd 252.
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/machine-id"), "00112233445566778899aabbccddeeff\n").unwrap();
        assert_eq!(
            host_id(&Paths::below(root.path())).unwrap(),
            "b9ebce5d79824a36afa243f8756cf7a5"
        );
    }

    #[test]
    fn host_without_machine_id_is_told_so() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert!(matches!(host_id(&paths), Err(IdError::Read { .. })));
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert!(matches!(host_id(&paths), Err(IdError::Form { .. })));
    }
}
