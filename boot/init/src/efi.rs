//! Which partition the boot loader came from.

use std::path::Path;

use uuid::Uuid;

use crate::console::Console;
use crate::{bounded, mounts};

/// Set by systemd-boot and systemd-stub: the PARTUUID of the partition they were started from (Boot Loader
/// Interface, UAPI). The suffix is the vendor UUID that the interface fixes.
const VARIABLE: &str = "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Attributes that efivarfs puts before the value of every variable.
const ATTRIBUTES: usize = 4;

/// 36 UTF-16 units, a NUL and the attributes take 78 bytes.
const LIMIT: u64 = 256;

/// The partition, or `None` on firmware without EFI variables; the caller then has to be more careful.
pub(crate) fn boot_partition(console: Console) -> Option<Uuid> {
    if let Err(reason) = mounts::efi_variables() {
        console.step(&format!("no EFI variables: {reason}"));
        return None;
    }
    let partition = bounded::read(Path::new(VARIABLE), LIMIT)
        .ok()
        .and_then(|bytes| parse(&bytes));
    match partition {
        Some(uuid) => console.detail(&format!("boot loader started from partition {uuid}")),
        None => console.step("the boot loader does not say which disk it was started from"),
    }
    partition
}

/// The UUID in the content of an efivarfs file: attributes, then UTF-16LE text with a final NUL.
fn parse(bytes: &[u8]) -> Option<Uuid> {
    let units: Vec<u16> = bytes
        .get(ATTRIBUTES..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    Uuid::try_parse(&String::from_utf16(&units).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn variable(text: &str) -> Vec<u8> {
        let text = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(text).collect()
    }

    #[test]
    fn upper_case_utf16_is_read() {
        let uuid = parse(&variable("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")).unwrap();
        assert_eq!(uuid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    }

    #[test]
    fn torn_variable_is_no_partition() {
        let whole = variable("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        for length in 0..whole.len() - 2 {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
    }
}
