//! What is measured of an image, as systemd-measure has it.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the other tests use the rest of it")]
mod pe;

use std::path::Path;
use std::process::Command;

use pe::{AMD64, image, section_header_at, word};
use twinhull_uki::pcr11;

/// In the package systemd.
const MEASURE: &str = "/usr/lib/systemd/systemd-measure";

const OSREL: &[u8] = b"ID=x\n";
const LINUX: &[u8] = b"MZ kernel";

fn said_by_systemd(files: &[(&str, &[u8])], folder: &Path) -> String {
    let mut command = Command::new(MEASURE);
    command.args(["calculate", "--bank=sha256", "--phase=:"]);
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        command.arg(format!("--{name}={}", path.display()));
    }
    let output = command.output().unwrap_or_else(|error| panic!("{MEASURE}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("11:sha256="));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn register_is_what_systemd_measure_says() {
    let folder = tempfile::tempdir().unwrap();
    // Another order than the one in which they are measured, among others that are not.
    let sections: [(&str, &[u8]); 5] = [
        (".text", b"code"),
        (".osrel", OSREL),
        (".cmdline", b"quiet"),
        (".initrd", &[9; 5000]),
        (".linux", LINUX),
    ];
    let wanted = said_by_systemd(
        &[
            ("linux", LINUX),
            ("osrel", OSREL),
            ("cmdline", b"quiet"),
            ("initrd", &[9; 5000]),
        ],
        folder.path(),
    );
    assert_eq!(hex::encode(pcr11(&image(AMD64, &sections, 0)).unwrap()), wanted);
}

#[test]
fn memory_behind_the_file_is_measured_as_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = image(AMD64, &[(".linux", LINUX), (".osrel", OSREL)], 0x20_000);
    // VirtualSize, over what is in the file.
    word(&mut image, section_header_at(0) + 8, 10_000);
    let mut mapped = LINUX.to_vec();
    mapped.resize(10_000, 0);
    // The generator fills the file up with zeros, which the larger size takes in.
    let wanted = said_by_systemd(&[("linux", &mapped), ("osrel", OSREL)], folder.path());
    assert_eq!(hex::encode(pcr11(&image).unwrap()), wanted);
    word(&mut image, section_header_at(0) + 8, 0x7fff_ffff);
    assert!(pcr11(&image).unwrap_err().to_string().contains(".linux"));
}
