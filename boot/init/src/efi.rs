//! The variables in which the boot loader and the system talk to each other.
//!
//! Specification: the Boot Loader Interface of systemd (`systemd.io/BOOT_LOADER_INTERFACE`).

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use uuid::Uuid;

use crate::console::Console;
use crate::{bounded, mounts};

/// The vendor UUID that the interface fixes, as the end of a file name in efivarfs.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Attributes that efivarfs puts before the value of every variable.
const ATTRIBUTES: usize = 4;

/// Non-volatile, and to be read by boot loader and system.
const KEPT: u32 = 0b111;

/// Hundreds of boot entries; without any, a few dozen bytes.
const LIMIT: u64 = 64 * 1024;

/// The partition that the boot loader was started from, or `None` on firmware without EFI variables; the caller then has to be more
/// careful.
pub(crate) fn boot_partition(console: Console) -> Option<Uuid> {
    if let Err(reason) = mounts::efi_variables() {
        console.step(&format!("no EFI variables: {reason}"));
        return None;
    }
    let partition = texts("LoaderDevicePartUUID")
        .first()
        .and_then(|text| Uuid::try_parse(text).ok());
    match partition {
        Some(uuid) => console.detail(&format!("boot loader started from partition {uuid}")),
        None => console.step("the boot loader does not say which disk it was started from"),
    }
    partition
}

/// The texts in the variable `name`: one, or several in a list. None if there is no such variable.
pub(crate) fn texts(name: &str) -> Vec<String> {
    bounded::read(&path(name), LIMIT)
        .map(|bytes| parse(&bytes))
        .unwrap_or_default()
}

/// Sets the variable `name` to `text`, for this boot loader's next start and after.
pub(crate) fn set(name: &str, text: &str) -> io::Result<()> {
    // One write call is one call of the firmware: the variable is there whole or not at all.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path(name))?
        .write_all(&variable(KEPT, text))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/sys/firmware/efi/efivars/{name}-{VENDOR}"))
}

/// What efivarfs takes: attributes, then UTF-16LE text with a final NUL.
fn variable(attributes: u32, text: &str) -> Vec<u8> {
    let text = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    attributes.to_le_bytes().into_iter().chain(text).collect()
}

/// The texts in the content of an efivarfs file, each with a final NUL. One that was cut off is no text.
fn parse(bytes: &[u8]) -> Vec<String> {
    let units: Vec<u16> = bytes
        .get(ATTRIBUTES..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let mut texts: Vec<&[u16]> = units.split(|unit| *unit == 0).collect();
    texts.pop();
    texts
        .into_iter()
        .filter_map(|text| String::from_utf16(text).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{KEPT, parse, variable};

    const UUID: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(parse(&variable(KEPT, UUID)), [UUID]);
        let list = [variable(6, "one"), variable(0, "two")[4..].to_vec()].concat();
        assert_eq!(parse(&list), ["one", "two"]);
        assert_eq!(parse(&variable(KEPT, "ä")), ["ä"]);
        assert_eq!(variable(KEPT, "a"), [7, 0, 0, 0, b'a', 0, 0, 0]);
    }

    #[test]
    fn torn_variable_has_no_text() {
        let whole = variable(KEPT, UUID);
        for length in 0..whole.len() - 1 {
            assert!(parse(&whole[..length]).is_empty(), "{length} bytes");
        }
    }
}
