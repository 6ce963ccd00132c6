//! A PE image, parsed and checked: the headers that an assembler reads and rewrites.

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_SECURITY, IMAGE_NT_OPTIONAL_HDR64_MAGIC, ImageDataDirectory, ImageDosHeader,
    ImageNtHeaders64, ImageSectionHeader,
};
use object::pod;
use object::read::pe::ImageNtHeaders;

use crate::{Part, UkiError};

/// Bytes of one entry in the section table.
pub(crate) const SECTION_HEADER: usize = size_of::<ImageSectionHeader>();

/// The headers of one image, copied out, with the offsets they came from.
pub(crate) struct Image {
    pub(crate) part: Part,
    pub(crate) headers_at: usize,
    pub(crate) headers: ImageNtHeaders64,
    pub(crate) sections_at: usize,
    pub(crate) sections: Vec<ImageSectionHeader>,
    /// Where the directory entry of the certificate table is, if the headers have one.
    pub(crate) signature_directory_at: Option<usize>,
}

impl Image {
    /// Parses `bytes`. Everything an image says about itself is checked against its length.
    pub(crate) fn parse(bytes: &[u8], part: Part) -> Result<Self, UkiError> {
        let not_pe = |reason: &dyn ToString| UkiError::NotPe {
            part,
            reason: reason.to_string(),
        };
        let dos = ImageDosHeader::parse(bytes).map_err(|e| not_pe(&e))?;
        let mut offset = u64::from(dos.nt_headers_offset());
        let headers_at = usize::try_from(offset).map_err(|e| not_pe(&e))?;
        let (headers, directories) = ImageNtHeaders64::parse(bytes, &mut offset).map_err(|e| not_pe(&e))?;
        if headers.optional_header.magic.get(LE) != IMAGE_NT_OPTIONAL_HDR64_MAGIC {
            return Err(not_pe(&"32-bit optional header"));
        }
        let sections_at = usize::try_from(offset).map_err(|e| not_pe(&e))?;
        let table = headers.sections(bytes, offset).map_err(|e| not_pe(&e))?;
        let sections: Vec<_> = table.iter().copied().collect();
        for header in &sections {
            let end = u64::from(header.pointer_to_raw_data.get(LE)) + u64::from(header.size_of_raw_data.get(LE));
            if end > bytes.len() as u64 {
                let name = name_of(header);
                return Err(not_pe(&format!(
                    "section {name} ends at byte {end}, the file at {}",
                    bytes.len()
                )));
            }
        }
        let signature_directory_at = (directories.len() > IMAGE_DIRECTORY_ENTRY_SECURITY).then(|| {
            headers_at
                + size_of::<ImageNtHeaders64>()
                + IMAGE_DIRECTORY_ENTRY_SECURITY * size_of::<ImageDataDirectory>()
        });
        Ok(Self {
            part,
            headers_at,
            headers: *headers,
            sections_at,
            sections,
            signature_directory_at,
        })
    }

    /// The section of that name, the first when there are several (as firmware and systemd-stub take it).
    pub(crate) fn find(&self, name: &str) -> Option<&ImageSectionHeader> {
        self.sections.iter().find(|header| name_of(header) == name)
    }

    /// The bytes of one section: what is in the file, without padding.
    pub(crate) fn data<'b>(&self, bytes: &'b [u8], header: &ImageSectionHeader) -> Result<&'b [u8], UkiError> {
        let start = header.pointer_to_raw_data.get(LE) as usize;
        let length = header.size_of_raw_data.get(LE).min(header.virtual_size.get(LE)) as usize;
        start
            .checked_add(length)
            .and_then(|end| bytes.get(start..end))
            .ok_or_else(|| UkiError::NotPe {
                part: self.part,
                reason: format!("section {} lies outside the file", name_of(header)),
            })
    }

    /// First byte after everything that the sections use.
    pub(crate) fn end_of_sections(&self) -> usize {
        let raw = |header: &ImageSectionHeader| {
            header.pointer_to_raw_data.get(LE) as usize + header.size_of_raw_data.get(LE) as usize
        };
        let headers = self.headers.optional_header.size_of_headers.get(LE) as usize;
        self.sections.iter().map(raw).max().unwrap_or(0).max(headers)
    }

    /// Writes the headers and the section table back over those in `out`. The image changed, so a signature
    /// that covered it is dropped from the directory.
    pub(crate) fn write_headers(&self, out: &mut [u8]) -> Result<(), UkiError> {
        put(out, self.headers_at, pod::bytes_of(&self.headers))?;
        if let Some(at) = self.signature_directory_at {
            put(out, at, &[0; size_of::<ImageDataDirectory>()])?;
        }
        put(out, self.sections_at, pod::bytes_of_slice(&self.sections))
    }
}

/// A section's name, without the NULs that pad it to eight bytes.
pub(crate) fn name_of(header: &ImageSectionHeader) -> String {
    let end = header
        .name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(header.name.len());
    String::from_utf8_lossy(&header.name[..end]).into_owned()
}

/// Copies `bytes` over `out` at `at`.
pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), UkiError> {
    let end = at.checked_add(bytes.len());
    let room = end
        .and_then(|end| out.get_mut(at..end))
        .ok_or_else(|| UkiError::StubLayout {
            reason: format!("{} bytes of header at byte {at} pass the end of the file", bytes.len()),
        })?;
    room.copy_from_slice(bytes);
    Ok(())
}
