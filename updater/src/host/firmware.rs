//! What the boot loader left in EFI variables.

use std::fs::File;
use std::io::Read;

use crate::paths::Paths;

/// Set by systemd-boot when the entry it started has a boot counter (Boot Loader Interface, `LoaderBootCountPath`).
const BOOT_COUNT_PATH: &str = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Longest variable that is read, in bytes.
const MAX_SIZE: u64 = 4096;

/// The file name of the entry that was started with a boot counter, as it was then: `None` if the entry had no counter, or if
/// there are no EFI variables. It stays set after the entry was blessed.
pub fn counted_boot(paths: &Paths) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(paths.at(BOOT_COUNT_PATH))
        .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
        .ok()?;
    // efivarfs puts four bytes of attributes before the value.
    let units: Vec<u16> = bytes
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let path = String::from_utf16(&units).ok()?;
    path.rsplit('\\').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_names_the_entry() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(counted_boot(&paths), None);

        let mut bytes = vec![6, 0, 0, 0];
        for unit in "\\EFI\\Linux\\p_1.1.0+2-1.efi\0".encode_utf16() {
            bytes.extend(unit.to_le_bytes());
        }
        let path = paths.at(BOOT_COUNT_PATH);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        assert_eq!(counted_boot(&paths).as_deref(), Some("p_1.1.0+2-1.efi"));
    }
}
