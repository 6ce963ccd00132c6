//! Questions to a finished image.

use std::fmt;

use object::LittleEndian as LE;
use object::pe::{IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64};

use crate::image::Image;
use crate::{Part, UkiError};

/// The processor that a PE image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// `IMAGE_FILE_MACHINE_AMD64`.
    X86_64,
    /// `IMAGE_FILE_MACHINE_ARM64`.
    Aarch64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}

impl Machine {
    pub(crate) fn of(image: &Image) -> Result<Self, UkiError> {
        match image.headers.file_header.machine.get(LE) {
            IMAGE_FILE_MACHINE_AMD64 => Ok(Self::X86_64),
            IMAGE_FILE_MACHINE_ARM64 => Ok(Self::Aarch64),
            other => Err(UkiError::UnknownMachine {
                part: image.part,
                found: other.0,
            }),
        }
    }
}

/// The processor that the PE image in `pe` is for. Fails on what is no 64-bit PE image of a known machine.
pub fn machine(pe: &[u8]) -> Result<Machine, UkiError> {
    Machine::of(&Image::parse(pe, Part::Image)?)
}

/// The content of section `name` (with its dot, as in `.cmdline`) of the PE image in `pe`, without padding.
/// Fails with [`UkiError::NoSection`] when there is none.
pub fn section<'b>(pe: &'b [u8], name: &str) -> Result<&'b [u8], UkiError> {
    let image = Image::parse(pe, Part::Image)?;
    let header = image
        .find(name)
        .ok_or_else(|| UkiError::NoSection { name: name.to_owned() })?;
    image.data(pe, header)
}
