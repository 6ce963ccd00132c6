//! A UKI made of small generated parts, read back by this crate, by hand, and by binutils.

// The generator of inputs fails loudly, like any test.
#![allow(clippy::unwrap_used)]

mod pe;

use std::process::Command;

use pe::{AMD64, ARM64, directory_at, image, read_word, section_header_at, word};
use proptest::prelude::*;
use twinhull_uki::{CMDLINE_MAX, Machine, Part, Uki, UkiError, machine, section};

const STUB_SBAT: &[u8] = b"sbat,1,SBAT Version,sbat,1,https://example.org\nsystemd-stub,1,Stub\n";
const KERNEL_SIZE_OF_IMAGE: usize = 0x9000;

fn stub(of: u16) -> Vec<u8> {
    image(
        of,
        &[(".text", b"code"), (".sbat", STUB_SBAT), (".reloc", &[7; 700])],
        0,
    )
}

fn kernel(of: u16) -> Vec<u8> {
    image(of, &[(".text", &[0x90; 5000])], KERNEL_SIZE_OF_IMAGE)
}

fn parts<'a>(stub: &'a [u8], kernel: &'a [u8]) -> Uki<'a> {
    Uki {
        stub,
        kernel,
        initrd: b"070701 pretend",
        cmdline: "roothash=00 quiet",
        os_release: "ID=x\nPRETTY_NAME=\"X 1\"\n",
        uname: "6.12.0",
        sbat: Some("sbat,1,SBAT Version\nours,1,Ours\n"),
    }
}

/// Name, address, memory size, offset, file size of every section, taken from the bytes by hand.
fn table(uki: &[u8]) -> Vec<(String, usize, usize, usize, usize)> {
    let count = usize::from(uki[0x46]);
    (0..count)
        .map(|index| {
            let at = section_header_at(index);
            let name = String::from_utf8_lossy(&uki[at..at + 8])
                .trim_end_matches('\0')
                .to_owned();
            let field = |offset| read_word(uki, at + offset);
            (name, field(12), field(8), field(20), field(16))
        })
        .collect()
}

/// The rules that firmware holds a section table to.
fn assert_well_formed(uki: &[u8]) {
    let table = table(uki);
    for pair in table.windows(2) {
        let ((name, address, memory, offset, raw), next) = (&pair[0], &pair[1]);
        assert!(address + memory <= next.1, "{name} runs into {} in memory", next.0);
        assert!(offset + raw <= next.3, "{name} runs into {} in the file", next.0);
    }
    for (name, address, _, offset, raw) in &table {
        assert_eq!(address % 0x1000, 0, "address of {name}");
        assert_eq!((offset % 0x200, raw % 0x200), (0, 0), "file range of {name}");
        assert!(*offset >= pe::HEADERS, "{name} lies in the headers");
    }
    let (_, address, memory, offset, raw) = table.last().unwrap();
    assert_eq!(
        read_word(uki, 0x40 + 24 + 56),
        (address + memory).next_multiple_of(0x1000),
        "SizeOfImage"
    );
    assert_eq!(offset + raw, uki.len(), "the file ends with its last section");
}

#[test]
fn every_part_is_read_back_unchanged() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let parts = parts(&stub, &kernel);
    let uki = parts.assemble().unwrap();
    assert_well_formed(&uki);
    assert_eq!(section(&uki, ".osrel").unwrap(), parts.os_release.as_bytes());
    assert_eq!(section(&uki, ".cmdline").unwrap(), parts.cmdline.as_bytes());
    assert_eq!(section(&uki, ".uname").unwrap(), parts.uname.as_bytes());
    assert_eq!(section(&uki, ".initrd").unwrap(), parts.initrd);
    assert_eq!(&section(&uki, ".linux").unwrap()[..kernel.len()], kernel);
    assert_eq!(section(&uki, ".text").unwrap(), b"code");
    assert_eq!(
        section(&uki, ".none"),
        Err(UkiError::NoSection {
            name: ".none".to_owned()
        })
    );
}

#[test]
fn kernel_is_mapped_over_its_own_size_of_image() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let uki = parts(&stub, &kernel).assemble().unwrap();
    let table = table(&uki);
    let linux = table.last().unwrap();
    assert_eq!((linux.0.as_str(), linux.2), (".linux", KERNEL_SIZE_OF_IMAGE));
    assert!(linux.4 < KERNEL_SIZE_OF_IMAGE);
}

#[test]
fn same_parts_give_same_bytes() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    assert_eq!(parts(&stub, &kernel).assemble(), parts(&stub, &kernel).assemble());
}

#[test]
fn sbat_of_stub_and_ours_share_one_section() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let uki = parts(&stub, &kernel).assemble().unwrap();
    let text = String::from_utf8_lossy(section(&uki, ".sbat").unwrap()).into_owned();
    assert_eq!(text, format!("{}ours,1,Ours\n", String::from_utf8_lossy(STUB_SBAT)));
    assert_eq!(table(&uki).iter().filter(|row| row.0 == ".sbat").count(), 1);
}

#[test]
fn sbat_without_room_is_refused() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let long = "x".repeat(600);
    let result = Uki {
        sbat: Some(&long),
        ..parts(&stub, &kernel)
    }
    .assemble();
    assert_eq!(
        result,
        Err(UkiError::SbatTooLong {
            needed: STUB_SBAT.len() + 601,
            room: 512
        })
    );
}

#[test]
fn machine_is_told_and_never_mixed() {
    let (stub_arm, kernel_arm, kernel_amd) = (stub(ARM64), kernel(ARM64), kernel(AMD64));
    let uki = parts(&stub_arm, &kernel_arm).assemble().unwrap();
    assert_eq!(machine(&uki), Ok(Machine::Aarch64));
    assert_eq!(
        parts(&stub_arm, &kernel_amd).assemble(),
        Err(UkiError::MixedMachines {
            stub: Machine::Aarch64,
            kernel: Machine::X86_64
        })
    );
    assert_eq!(
        machine(&image(0x1c4, &[(".text", b"x")], 0)),
        Err(UkiError::UnknownMachine {
            part: Part::Image,
            found: 0x1c4
        })
    );
}

#[test]
fn signature_of_the_stub_is_dropped_with_its_directory() {
    let (mut stub, kernel) = (stub(AMD64), kernel(AMD64));
    let plain = parts(&stub, &kernel).assemble().unwrap();
    let at = stub.len();
    word(&mut stub, directory_at(4), at);
    word(&mut stub, directory_at(4) + 4, 16);
    stub.extend_from_slice(b"certificate here");
    assert_eq!(parts(&stub, &kernel).assemble().unwrap(), plain);
}

#[test]
fn finished_image_is_no_stub() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let uki = parts(&stub, &kernel).assemble().unwrap();
    let again = parts(&uki, &kernel).assemble();
    assert!(matches!(again, Err(UkiError::AlreadyThere { name }) if name == ".osrel"));
}

#[test]
fn full_header_is_refused() {
    let names: Vec<String> = (0..14).map(|index| format!(".s{index}")).collect();
    let sections: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let (stub, kernel) = (image(AMD64, &sections, 0), kernel(AMD64));
    let error = parts(&stub, &kernel).assemble().unwrap_err().to_string();
    assert!(error.contains("room for 17 sections and 20 are wanted"), "{error}");
}

#[test]
fn descending_stub_is_refused() {
    let (mut stub, kernel) = (stub(AMD64), kernel(AMD64));
    word(&mut stub, section_header_at(2) + 12, 0x1000);
    let error = parts(&stub, &kernel).assemble().unwrap_err().to_string();
    assert!(
        error.contains("section .reloc starts inside or below its predecessor"),
        "{error}"
    );
}

#[test]
fn text_that_its_reader_would_misread_is_refused() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let parts = parts(&stub, &kernel);
    let longest = "x".repeat(CMDLINE_MAX);
    assert!(
        Uki {
            cmdline: &longest,
            ..parts
        }
        .assemble()
        .is_ok()
    );
    let long = "x".repeat(CMDLINE_MAX + 1);
    let refused = Uki {
        cmdline: &long,
        ..parts
    }
    .assemble();
    assert_eq!(
        refused,
        Err(UkiError::CmdlineTooLong {
            length: CMDLINE_MAX + 1,
            max: CMDLINE_MAX
        })
    );
    let refused = Uki {
        cmdline: "a\nb",
        ..parts
    }
    .assemble();
    assert_eq!(
        refused,
        Err(UkiError::ControlCharacter {
            section: ".cmdline",
            found: '\n',
            at: 1
        })
    );
    assert_eq!(
        Uki { initrd: b"", ..parts }.assemble(),
        Err(UkiError::Empty { section: ".initrd" })
    );
}

/// binutils is a second reader that shares no line with this crate. It comes with every linker.
#[test]
fn objdump_reads_the_same_sections() {
    let (stub, kernel) = (stub(AMD64), kernel(AMD64));
    let uki = parts(&stub, &kernel).assemble().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.efi");
    std::fs::write(&file, &uki).unwrap();
    let output = Command::new("objdump").arg("-h").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, address, _, offset, _) in table(&uki) {
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(&name));
        let fields: Vec<_> = line
            .unwrap_or_else(|| panic!("{name} not in {text}"))
            .split_whitespace()
            .collect();
        assert_eq!(
            usize::from_str_radix(fields[3], 16).unwrap(),
            address,
            "address of {name}"
        );
        assert_eq!(
            usize::from_str_radix(fields[5], 16).unwrap(),
            offset,
            "offset of {name}"
        );
    }
}

proptest! {
    #[test]
    fn sections_never_overlap(
        initrd in prop::collection::vec(any::<u8>(), 1..20_000),
        cmdline in "[ -~]{1,600}",
        os_release in "[ -~\n]{1,5000}",
        kernel_text in prop::collection::vec(any::<u8>(), 1..9_000),
        kernel_image in 0_usize..100_000,
    ) {
        let stub = stub(AMD64);
        let kernel = image(AMD64, &[(".text", &kernel_text)], kernel_image);
        let uki = Uki { initrd: &initrd, cmdline: &cmdline, os_release: &os_release, ..parts(&stub, &kernel) };
        let bytes = uki.assemble().unwrap();
        assert_well_formed(&bytes);
        prop_assert_eq!(section(&bytes, ".initrd").unwrap(), &initrd[..]);
        prop_assert_eq!(section(&bytes, ".cmdline").unwrap(), cmdline.as_bytes());
    }

    /// Whatever the bytes, the answer is a value or an error.
    #[test]
    fn damaged_image_is_an_answer_not_a_crash(at in 0_usize..0x400, value in any::<u8>(), cut in 0_usize..9_000) {
        let (mut stub, kernel) = (stub(AMD64), kernel(AMD64));
        stub[at] = value;
        stub.truncate(cut.max(1));
        let _ = machine(&stub);
        let _ = section(&stub, ".reloc");
        if let Ok(uki) = parts(&stub, &kernel).assemble() {
            prop_assert!(section(&uki, ".cmdline").is_ok());
        }
    }
}
