//! What a UKI is made of.

use object::LittleEndian as LE;

use crate::append::{Appender, Kind};
use crate::image::Image;
use crate::{Machine, Part, UkiError, sbat};

/// The longest kernel command line, in bytes: `COMMAND_LINE_SIZE` is 2048 on both architectures and includes
/// the final NUL. The kernel cuts a longer one off without a word, and `roothash=` may be what is lost.
pub const CMDLINE_MAX: usize = 2047;

/// The parts of a unified kernel image.
#[derive(Debug, Clone, Copy)]
pub struct Uki<'a> {
    /// systemd-stub (`linuxx64.efi.stub` or `linuxaa64.efi.stub`), signed or not.
    pub stub: &'a [u8],
    /// The kernel: a PE image for the stub's machine, as distributions ship it.
    pub kernel: &'a [u8],
    /// The initramfs: one or several cpio archives, compressed or not.
    pub initrd: &'a [u8],
    /// The kernel command line, at most [`CMDLINE_MAX`] bytes on one line.
    pub cmdline: &'a str,
    /// The os-release text; systemd-boot takes title and version from it.
    pub os_release: &'a str,
    /// The kernel's release string, as `uname -r` prints it.
    pub uname: &'a str,
    /// SBAT lines to add to those of the stub.
    pub sbat: Option<&'a str>,
}

impl Uki<'_> {
    /// The image as a file: unsigned, and the same bytes for the same parts on any host.
    ///
    /// `.linux` comes last and is mapped over the kernel's own `SizeOfImage`, so that a kernel which unpacks
    /// itself in place finds zeroed memory behind it and no other section.
    pub fn assemble(&self) -> Result<Vec<u8>, UkiError> {
        let kernel = Image::parse(self.kernel, Part::Kernel)?;
        let mut image = Appender::new(self.stub)?;
        let (stub_machine, kernel_machine) = (Machine::of(image.image())?, Machine::of(&kernel)?);
        if stub_machine != kernel_machine {
            return Err(UkiError::MixedMachines {
                stub: stub_machine,
                kernel: kernel_machine,
            });
        }
        self.check_texts()?;

        if let Some(ours) = self.sbat {
            self.add_sbat(&mut image, ours)?;
        }
        for (name, data) in [
            (".osrel", self.os_release.as_bytes()),
            (".cmdline", self.cmdline.as_bytes()),
            (".uname", self.uname.as_bytes()),
            (".initrd", self.initrd),
        ] {
            image.append(name, data, 0, Kind::Data)?;
        }
        let mapped = u64::from(kernel.headers.optional_header.size_of_image.get(LE));
        image.append(".linux", self.kernel, mapped, Kind::Code)?;
        image.finish()
    }

    /// Merges into the stub's own section: of two `.sbat` sections a loader would read only the first.
    fn add_sbat(&self, image: &mut Appender, ours: &str) -> Result<(), UkiError> {
        let present = match image.image().find(".sbat") {
            Some(header) => String::from_utf8_lossy(image.image().data(self.stub, header)?).into_owned(),
            None => String::new(),
        };
        let merged = sbat::merge(&present, ours);
        if !image.replace(".sbat", merged.as_bytes())? {
            image.append(".sbat", merged.as_bytes(), 0, Kind::Data)?;
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), UkiError> {
        if self.cmdline.len() > CMDLINE_MAX {
            return Err(UkiError::CmdlineTooLong {
                length: self.cmdline.len(),
                max: CMDLINE_MAX,
            });
        }
        one_line(".cmdline", self.cmdline)?;
        one_line(".uname", self.uname)?;
        if let Some(at) = self.os_release.find('\0') {
            return Err(UkiError::ControlCharacter {
                section: ".osrel",
                found: '\0',
                at,
            });
        }
        for (section, empty) in [
            (".osrel", self.os_release.is_empty()),
            (".cmdline", self.cmdline.is_empty()),
            (".uname", self.uname.is_empty()),
            (".initrd", self.initrd.is_empty()),
        ] {
            if empty {
                return Err(UkiError::Empty { section });
            }
        }
        Ok(())
    }
}

fn one_line(section: &'static str, text: &str) -> Result<(), UkiError> {
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, found)) => Err(UkiError::ControlCharacter { section, found, at }),
        None => Ok(()),
    }
}
