//! Step 7: the EFI system partition: systemd-boot and the first release, already blessed.

use std::fs::File;
use std::io;

use twinhull_layout::{Arch, BootEntry, paths};

use super::fat;
use super::kernel::Boot;

/// The boot loader's settings. No menu delays a server, and nobody edits the command line. There must be no `default`: it
/// would start an entry that boot counting has found bad.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

/// Formats `size` bytes of `disk` at `start`, all zero so far, and writes the files of the ESP.
///
/// # Errors
/// Those of the disk, and when the partition is too small for the files.
pub(super) fn write(
    disk: &File,
    start: u64,
    size: u64,
    serial: u32,
    arch: Arch,
    entry: &BootEntry,
    boot: &Boot,
) -> io::Result<()> {
    fat::write(disk, start, size, serial, *b"ESP        ", &files(arch, entry, boot))
}

/// The files of the ESP. A random seed is not among them: it would be the same on every host.
fn files<'a>(arch: Arch, entry: &BootEntry, boot: &'a Boot) -> Vec<(String, &'a [u8])> {
    let mut files: Vec<(String, &[u8])> = vec![
        // The first name is where firmware looks on a disk it does not know, the second is what systemd's tools look after.
        (format!("EFI/BOOT/BOOT{}.EFI", arch.efi().to_uppercase()), &boot.loader),
        (format!("EFI/systemd/systemd-boot{}.efi", arch.efi()), &boot.loader),
        (format!("{}/{entry}", paths::ENTRIES), &boot.uki),
        ("loader/loader.conf".into(), LOADER_CONF.as_bytes()),
    ];
    // systemd-boot enrols from the folder `auto` by itself in a virtual machine whose firmware has no keys yet; elsewhere a
    // person chooses it in the menu (loader.conf(5), secure-boot-enroll).
    for (name, content) in &boot.enrolment {
        files.push((format!("loader/keys/auto/{name}"), content));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_has_no_counter_and_the_loader_no_default() {
        let boot = Boot {
            uki: b"uki".to_vec(),
            loader: b"loader".to_vec(),
            root_signature: None,
            enrolment: vec![("PK.auth".into(), b"pk".to_vec())],
        };
        let entry = BootEntry::blessed("p".parse().unwrap(), "1.0.0".parse().unwrap());
        let files = files(Arch::Aarch64, &entry, &boot);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "EFI/BOOT/BOOTAA64.EFI",
                "EFI/systemd/systemd-bootaa64.efi",
                "EFI/Linux/p_1.0.0.efi",
                "loader/loader.conf",
                "loader/keys/auto/PK.auth"
            ]
        );
        assert!(!LOADER_CONF.contains("default"));
    }
}
