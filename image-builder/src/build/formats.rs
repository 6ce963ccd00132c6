//! Step 9: the disk in further forms.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use twinhull_layout::{Slot, Table, partition};

use super::{Context, processors, sparse};
use crate::definition::format::Format;
use crate::error::{Doing, Error, Result};
use crate::part::SECTOR;
use crate::progress::Step;
use crate::tools::qemu_img;

/// How hard the disk is compressed: most of it is zeros and programs, and higher levels cost more than they save.
const LEVEL: i32 = 6;

/// The partitions of the form `split`, and what the names of their files end with. Slot B is empty.
const SPLIT: [(u32, &str); 5] = [
    (partition::ESP_NUMBER, "esp"),
    (Slot::A.root_number(), ROOT),
    (Slot::A.verity_number(), "verity"),
    (Slot::A.signature_number(), "verity-sig"),
    (partition::STATE_NUMBER, "state"),
];

/// The one that is written without the room that its partition leaves.
const ROOT: &str = "root";

/// Writes `disk`, whose root has `root_size` bytes, in the form `format` and returns each file with what its name is to end with.
pub(super) fn run(
    context: &Context<'_>,
    disk: &Path,
    root_size: u64,
    format: Format,
    step: &Step,
) -> Result<Vec<(PathBuf, &'static str)>> {
    let path = context.file(format.name());
    match format {
        Format::Qcow2 => qemu_img::qcow2(&context.log, disk, &path)?,
        Format::RawZst => compress(disk, &path, processors(), step).doing("write the compressed disk", &path)?,
        Format::Split => return split(disk, root_size, &|ending| context.file(&format!("split.{ending}"))),
    }
    Ok(vec![(path, format.name())])
}

/// Writes each partition of [`SPLIT`] into the new sparse file that `place` names. One that is blank is left out, as that of the
/// signature when nothing is signed.
fn split(disk: &Path, root_size: u64, place: &dyn Fn(&str) -> PathBuf) -> Result<Vec<(PathBuf, &'static str)>> {
    let source = File::open(disk).doing("read", disk)?;
    let table = Table::read(&source, SECTOR)
        .map_err(|error| Error::Content(format!("cannot read the disk that was just written: {error}")))?;
    let mut files = Vec::new();
    for (number, ending) in SPLIT {
        let Some(partition) = table.partition(number) else {
            return Err(Error::Content(format!("the layout has no partition {number}")));
        };
        let path = place(ending);
        let target = File::create_new(&path).doing("write", &path)?;
        let size = if ending == ROOT { root_size } else { partition.size };
        target.set_len(size).doing("set the size of", &path)?;
        let written = sparse::copy(&source, partition.start, size, &target, 0).doing("write", &path)?;
        if written {
            files.push((path, ending));
        }
    }
    Ok(files)
}

/// Writes the disk `from` compressed into the new file `to`, by so many `workers`, one or more: what they write does not depend on
/// how many they are.
fn compress(from: &Path, to: &Path, workers: u32, step: &Step) -> io::Result<()> {
    let disk = sparse::Reader::new(File::open(from)?)?;
    let size = disk.size();
    let mut source = BufReader::with_capacity(1 << 20, step.follow(disk, size));
    let mut encoder = zstd::Encoder::new(File::create_new(to)?, LEVEL)?;
    // Whoever unpacks it learns of a damaged file, and how large the disk will be.
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.multithread(workers)?;
    io::copy(&mut source, &mut encoder)?;
    encoder.finish().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use std::os::unix::fs::FileExt;

    #[test]
    fn parts_put_together_are_the_disk_and_blank_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = File::create_new(&path).unwrap();
        let size = 64 << 20;
        disk.set_len(size).unwrap();
        let mut start = 1 << 20;
        let partitions = (1..=8).map(|number| {
            let partition = twinhull_layout::table::Partition {
                number,
                kind: partition::STATE,
                id: uuid::Uuid::from_u128(u128::from(number)),
                start,
                size: 4 << 20,
                attributes: 0,
                label: format!("{number}"),
            };
            start += 4 << 20;
            partition
        });
        let partitions: Vec<_> = partitions.collect();
        let table = Table::create(size, SECTOR, uuid::Uuid::from_u128(9), partitions.clone()).unwrap();
        table.write(&disk).unwrap();
        for number in [1, 2, 3, 8] {
            disk.write_all_at(&[number; 5000], partitions[usize::from(number) - 1].start + 70_000)
                .unwrap();
        }
        let root_size = 80 << 10;
        let files = split(&path, root_size, &|ending| folder.path().join(ending)).unwrap();
        let endings: Vec<_> = files.iter().map(|(_, ending)| *ending).collect();
        assert_eq!(endings, ["esp", "root", "verity", "state"]);
        for ((file, ending), number) in files.iter().zip([1_usize, 2, 3, 8]) {
            let mut wanted = vec![0; if *ending == ROOT { 80 << 10 } else { 4 << 20 }];
            disk.read_exact_at(&mut wanted, partitions[number - 1].start).unwrap();
            assert!(std::fs::read(file).unwrap() == wanted, "{number}");
        }
    }

    #[test]
    fn qcow2_is_sound_to_qemu_and_has_the_same_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.toml", "init", "root.json"] {
            std::fs::write(path(name), "product = \"p\"\n").unwrap();
        }
        let options = crate::build::tests::options(folder.path());
        let context = crate::build::tests::context(&options);
        std::fs::create_dir(&context.work).unwrap();
        let disk = File::create_new(path("disk")).unwrap();
        disk.set_len(5 << 20).unwrap();
        disk.write_all_at(&[7; 5000], 3 << 20).unwrap();
        if crate::tools::find("qemu-img").is_none() {
            return crate::skip::skip("no qemu-img here");
        }
        let step = Progress::plain().step("format", "x");
        let files = run(&context, &path("disk"), 0, Format::Qcow2, &step).unwrap();
        let [(file, "qcow2")] = files.as_slice() else {
            panic!("{files:?}");
        };
        assert!(std::fs::read(file).unwrap().starts_with(b"QFI\xfb"));
        let qemu_img = |arguments: &[&str], more: &[&Path]| {
            let output = std::process::Command::new("qemu-img")
                .args(arguments)
                .args(more)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        qemu_img(&["check", "-f", "qcow2"], &[file]);
        qemu_img(&["compare", "-f", "raw", "-F", "qcow2"], &[&path("disk"), file]);
    }

    #[test]
    fn compressed_disk_unpacks_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("disk"), folder.path().join("disk.zst"));
        let mut content = vec![0; 3 << 20];
        content[2 << 20] = 7;
        std::fs::write(&from, &content).unwrap();
        let step = Progress::plain().step("format", "x");
        compress(&from, &to, 1, &step).unwrap();
        assert!(to.metadata().unwrap().len() < 4096);
        assert!(zstd::decode_all(File::open(&to).unwrap()).unwrap() == content);
    }

    #[test]
    fn compressed_disk_does_not_tell_how_many_processors_the_host_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Some of it is like the rest and some is not, and it is more than one worker takes at a time.
        let content: Vec<u8> = (0..24_u32 << 18)
            .flat_map(|number| (number.wrapping_mul(0x9e37_79b9) >> (number % 19)).to_le_bytes())
            .collect();
        std::fs::write(path("disk"), &content).unwrap();
        let step = Progress::plain().step("format", "x");
        let by = |workers: u32| {
            let to = path(&workers.to_string());
            compress(&path("disk"), &to, workers, &step).unwrap();
            std::fs::read(to).unwrap()
        };
        let one = by(1);
        assert!(one == by(2) && one == by(5));
        assert!(zstd::decode_all(one.as_slice()).unwrap() == content);
    }
}
