//! What can be wrong with the parts of a UKI.

use std::fmt;

use crate::Machine;

/// Which input an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The systemd-stub that the sections are appended to.
    Stub,
    /// The kernel.
    Kernel,
    /// A finished image that is being read.
    Image,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stub => "systemd-stub",
            Self::Kernel => "kernel",
            Self::Image => "image",
        })
    }
}

/// Why an image could not be assembled or read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UkiError {
    /// The bytes are no 64-bit PE image.
    #[error("the {part} is not a 64-bit EFI program: {reason}; check that the right file was given")]
    NotPe {
        /// Whose bytes they are.
        part: Part,
        /// What the parser stumbled over.
        reason: String,
    },
    /// A PE image for a processor that Twinhull does not know.
    #[error("the {part} is for machine type {found:#06x}; only x86_64 (0x8664) and aarch64 (0xaa64) are known")]
    UnknownMachine {
        /// Whose header it is.
        part: Part,
        /// The machine field as found.
        found: u16,
    },
    /// Stub and kernel are for different processors.
    #[error("the systemd-stub is for {stub} and the kernel for {kernel}; take both from packages of one architecture")]
    MixedMachines {
        /// The stub's machine.
        stub: Machine,
        /// The kernel's machine.
        kernel: Machine,
    },
    /// The stub's layout is not one that sections can be appended to.
    #[error(
        "cannot append sections to the systemd-stub: {reason}; use the unmodified stub of package systemd-boot-efi"
    )]
    StubLayout {
        /// Which rule it breaks.
        reason: String,
    },
    /// The stub already is a UKI, or two sections of one name were asked for.
    #[error("the systemd-stub already has a section {name}; use the unmodified stub, not a finished UKI")]
    AlreadyThere {
        /// The section.
        name: String,
    },
    /// The SBAT text does not fit where the stub keeps its own.
    #[error("the SBAT text needs {needed} bytes and the systemd-stub has room for {room}; shorten it")]
    SbatTooLong {
        /// Bytes needed, the stub's own lines included.
        needed: usize,
        /// Bytes the stub's section holds.
        room: usize,
    },
    /// A text section has a byte that its reader would misunderstand.
    #[error("{section} contains {found:?} at byte {at}; remove it")]
    ControlCharacter {
        /// The section.
        section: &'static str,
        /// The character.
        found: char,
        /// Its position.
        at: usize,
    },
    /// The kernel would cut the command line off.
    #[error("the kernel command line is {length} bytes and the kernel reads {max}; shorten it")]
    CmdlineTooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A mandatory part is empty.
    #[error("{section} would be empty; give its content")]
    Empty {
        /// The section.
        section: &'static str,
    },
    /// PE files end at 4 GiB.
    #[error("the image passes the 4 GiB that a PE file can hold, at section {section}; use a smaller initramfs")]
    TooLarge {
        /// The section that does not fit.
        section: String,
    },
    /// The image has no place for a signature, or its certificate table is damaged.
    #[error("the image cannot carry or does not hold a readable signature: {reason}")]
    Signature {
        /// What is wrong.
        reason: String,
    },
    /// The image that is read lacks the section.
    #[error("the image has no section {name}; it is not a unified kernel image, or was cut short")]
    NoSection {
        /// The section.
        name: String,
    },
}
