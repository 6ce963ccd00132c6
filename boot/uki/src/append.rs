//! Appending sections to a PE image.

use object::LittleEndian as LE;
use object::endian::{U16, U32};
use object::pe::{
    IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_READ, ImageSectionHeader,
    SectionFlags,
};

use crate::checksum::checksum;
use crate::image::{Image, SECTION_HEADER, name_of, put};
use crate::{Part, UkiError};

/// Offset of the checksum from the start of the NT headers: signature (4), file header (20), then 64 bytes of
/// optional header.
pub(crate) const CHECKSUM_AT: usize = 4 + 20 + 64;

/// What a section is for, which decides how firmware maps it.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Read only.
    Data,
    /// The kernel: old kernels are executed where they lie.
    Code,
}

impl Kind {
    fn flags(self) -> SectionFlags {
        match self {
            Self::Data => IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ,
            Self::Code => IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ,
        }
    }
}

/// An image that grows by sections.
pub(crate) struct Appender {
    image: Image,
    out: Vec<u8>,
    section_alignment: u64,
    file_alignment: u64,
}

impl Appender {
    /// Starts from `stub`, without what follows its last section (a signature would no longer hold).
    pub(crate) fn new(stub: &[u8]) -> Result<Self, UkiError> {
        let image = Image::parse(stub, Part::Stub)?;
        let optional = &image.headers.optional_header;
        let section_alignment = u64::from(optional.section_alignment.get(LE));
        let file_alignment = u64::from(optional.file_alignment.get(LE));
        let usual = (0x200..=0x1_0000).contains(&file_alignment) && section_alignment >= file_alignment;
        if !usual || !section_alignment.is_power_of_two() || !file_alignment.is_power_of_two() {
            return Err(layout(format!(
                "alignments {section_alignment:#x} and {file_alignment:#x} are out of bounds"
            )));
        }
        let mut end = 0;
        for header in &image.sections {
            let start = u64::from(header.virtual_address.get(LE));
            if start < end {
                return Err(layout(format!(
                    "section {} starts inside or below its predecessor",
                    name_of(header)
                )));
            }
            end = start + u64::from(header.virtual_size.get(LE));
        }
        let used = image.end_of_sections();
        let out = stub
            .get(..used)
            .ok_or_else(|| layout("the headers say more than the file holds".to_owned()))?
            .to_vec();
        Ok(Self {
            image,
            out,
            section_alignment,
            file_alignment,
        })
    }

    /// The image as parsed.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Replaces the content of the existing section `name`, in place. `Ok(false)` when there is none.
    pub(crate) fn replace(&mut self, name: &str, data: &[u8]) -> Result<bool, UkiError> {
        let Some(header) = self.image.sections.iter_mut().find(|header| name_of(header) == name) else {
            return Ok(false);
        };
        let at = header.pointer_to_raw_data.get(LE) as usize;
        let room = header.size_of_raw_data.get(LE) as usize;
        if data.len() > room {
            return Err(UkiError::SbatTooLong {
                needed: data.len(),
                room,
            });
        }
        header.virtual_size = U32::new(LE, narrow(data.len() as u64, name)?);
        put(&mut self.out, at, data)?;
        put(&mut self.out, at + data.len(), &vec![0; room - data.len()])?;
        Ok(true)
    }

    /// Appends section `name` with `data`, mapped over at least `mapped` bytes of memory.
    pub(crate) fn append(&mut self, name: &str, data: &[u8], mapped: u64, kind: Kind) -> Result<(), UkiError> {
        if self.image.find(name).is_some() {
            return Err(UkiError::AlreadyThere { name: name.to_owned() });
        }
        let after = self.image.sections.last().map_or(0, |header| {
            u64::from(header.virtual_address.get(LE))
                + u64::from(header.virtual_size.get(LE).max(header.size_of_raw_data.get(LE)))
        });
        let address = after.next_multiple_of(self.section_alignment);
        let virtual_size = mapped.max(data.len() as u64);
        let offset = (self.out.len() as u64).next_multiple_of(self.file_alignment);
        let raw_size = (data.len() as u64).next_multiple_of(self.file_alignment);
        // Every end must be addressable, not only every start.
        narrow(offset + raw_size, name)?;
        narrow(
            (address + virtual_size.max(raw_size)).next_multiple_of(self.section_alignment),
            name,
        )?;

        let mut padded_name = [0; 8];
        put(&mut padded_name, 0, name.as_bytes())?;
        self.image.sections.push(ImageSectionHeader {
            name: padded_name,
            virtual_size: U32::new(LE, narrow(virtual_size, name)?),
            virtual_address: U32::new(LE, narrow(address, name)?),
            size_of_raw_data: U32::new(LE, narrow(raw_size, name)?),
            pointer_to_raw_data: U32::new(LE, narrow(offset, name)?),
            pointer_to_relocations: U32::new(LE, 0),
            pointer_to_linenumbers: U32::new(LE, 0),
            number_of_relocations: U16::new(LE, 0),
            number_of_linenumbers: U16::new(LE, 0),
            characteristics: U32::new(LE, kind.flags()),
        });
        let optional = &mut self.image.headers.optional_header;
        let counter = match kind {
            Kind::Code => &mut optional.size_of_code,
            Kind::Data => &mut optional.size_of_initialized_data,
        };
        let total = u64::from(counter.get(LE)) + raw_size;
        *counter = U32::new(LE, narrow(total, name)?);

        self.out.resize(usize_of(offset, name)?, 0);
        self.out.extend_from_slice(data);
        self.out.resize(usize_of(offset + raw_size, name)?, 0);
        Ok(())
    }

    /// Writes the headers and gives the whole file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, UkiError> {
        self.check_header_room()?;
        let Some(last) = self.image.sections.last() else {
            return Err(layout("it has no section".to_owned()));
        };
        let end = u64::from(last.virtual_address.get(LE)) + u64::from(last.virtual_size.get(LE));
        let size_of_image = narrow(end.next_multiple_of(self.section_alignment), &name_of(last))?;
        let count = u16::try_from(self.image.sections.len()).map_err(|e| layout(e.to_string()))?;

        let file = &mut self.image.headers.file_header;
        file.number_of_sections = U16::new(LE, count);
        // A symbol table would lie behind the last section, which is now elsewhere.
        file.pointer_to_symbol_table = U32::new(LE, 0);
        file.number_of_symbols = U32::new(LE, 0);
        let optional = &mut self.image.headers.optional_header;
        optional.size_of_image = U32::new(LE, size_of_image);
        optional.check_sum = U32::new(LE, 0);
        self.image.write_headers(&mut self.out)?;

        let field = self.image.headers_at + CHECKSUM_AT;
        let sum = checksum(&self.out, field).ok_or_else(|| layout("the file passes 4 GiB".to_owned()))?;
        put(&mut self.out, field, &sum.to_le_bytes())?;
        Ok(self.out)
    }

    /// The section table may grow only over zeroes, and only up to where the headers end.
    fn check_header_room(&self) -> Result<(), UkiError> {
        let old_count = usize::from(self.image.headers.file_header.number_of_sections.get(LE));
        let old_end = self.image.sections_at + old_count * SECTION_HEADER;
        let new_end = self.image.sections_at + self.image.sections.len() * SECTION_HEADER;
        let headers_end = self.image.headers.optional_header.size_of_headers.get(LE) as usize;
        let first = |field: fn(&ImageSectionHeader) -> u32| {
            self.image
                .sections
                .iter()
                .map(field)
                .filter(|at| *at > 0)
                .min()
                .unwrap_or(0) as usize
        };
        let limit = headers_end
            .min(first(|h| h.pointer_to_raw_data.get(LE)))
            .min(first(|h| h.virtual_address.get(LE)));
        let room = limit.saturating_sub(self.image.sections_at) / SECTION_HEADER;
        if new_end > limit {
            let wanted = self.image.sections.len();
            return Err(layout(format!(
                "its headers have room for {room} sections and {wanted} are wanted"
            )));
        }
        match self.out.get(old_end..new_end) {
            Some(gap) if gap.iter().all(|byte| *byte == 0) => Ok(()),
            _ => Err(layout("something follows its section table".to_owned())),
        }
    }
}

fn layout(reason: String) -> UkiError {
    UkiError::StubLayout { reason }
}

fn narrow(value: u64, section: &str) -> Result<u32, UkiError> {
    u32::try_from(value).map_err(|_| UkiError::TooLarge {
        section: section.to_owned(),
    })
}

fn usize_of(value: u64, section: &str) -> Result<usize, UkiError> {
    usize::try_from(value).map_err(|_| UkiError::TooLarge {
        section: section.to_owned(),
    })
}
