//! Step 9: the disk in further forms.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::Context;
use crate::definition::format::Format;
use crate::error::{Doing, Result};
use crate::tools::qemu_img;

/// How hard the disk is compressed: most of it is zeros and programs, and higher levels cost more than they save.
const LEVEL: i32 = 6;

/// Writes `disk` in the form `format` and returns the file.
pub(super) fn run(context: &Context<'_>, disk: &Path, format: Format) -> Result<PathBuf> {
    let path = context.file(format.ending());
    match format {
        Format::Qcow2 => qemu_img::qcow2(&context.log, disk, &path)?,
        Format::RawZst => compress(disk, &path).doing("write the compressed disk", &path)?,
    }
    Ok(path)
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = BufReader::with_capacity(1 << 20, File::open(from)?);
    let mut encoder = zstd::Encoder::new(File::create_new(to)?, LEVEL)?;
    // Whoever unpacks it learns of a damaged file, and how large the disk will be.
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(from.metadata()?.len()))?;
    io::copy(&mut source, &mut encoder)?;
    encoder.finish().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_disk_unpacks_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("disk"), folder.path().join("disk.zst"));
        let mut content = vec![0; 3 << 20];
        content[2 << 20] = 7;
        std::fs::write(&from, &content).unwrap();
        compress(&from, &to).unwrap();
        assert!(to.metadata().unwrap().len() < 4096);
        assert!(zstd::decode_all(File::open(&to).unwrap()).unwrap() == content);
    }
}
