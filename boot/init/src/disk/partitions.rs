//! Partitions, as the kernel presents them in sysfs.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use crate::bounded;

/// sysfs attributes end at one page, and pages are at most 64 KiB.
const ATTRIBUTE_LIMIT: u64 = 64 << 10;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Name below `/dev`.
    pub(crate) name: String,
    /// Name of the disk it is on.
    pub(crate) disk: String,
    /// Device number: major, minor.
    pub(crate) device: (u32, u32),
    /// Place in the partition table, from 1.
    pub(crate) number: u32,
    /// Its PARTUUID, once the table of its disk was read (`tables`); the kernel says it only from 6.13 on.
    pub(crate) partuuid: Option<Uuid>,
    /// Where it starts on the disk, in sectors of 512 bytes, whatever the disk's own sectors are.
    pub(crate) start: u64,
    /// Its size in sectors of 512 bytes.
    pub(crate) sectors: u64,
}

/// All partitions below `folder` (`/sys/class/block`). What vanishes meanwhile is passed over.
pub(super) fn scan(folder: &Path) -> Vec<Partition> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
    // The order of a folder is accidental; messages name partitions in order.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn read(link: &Path) -> Option<Partition> {
    // `/sys/devices/…/block/vda/vda2`: the folder above is the disk.
    let path = fs::canonicalize(link).ok()?;
    let disk = path.parent()?.file_name()?.to_str()?;
    let attribute = |name| bounded::read_text(&path.join(name), ATTRIBUTE_LIMIT).ok();
    let number = |name| attribute(name)?.trim().parse().ok();
    parse(&attribute("uevent")?, disk, number("start")?, number("size")?)
}

/// A partition from its `uevent` file; `None` when that is of something else.
fn parse(uevent: &str, disk: &str, start: u64, sectors: u64) -> Option<Partition> {
    let value = |key: &str| {
        uevent
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    if value("DEVTYPE") != Some("partition") {
        return None;
    }
    let name = value("DEVNAME")?;
    if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    Some(Partition {
        name: name.to_owned(),
        disk: disk.to_owned(),
        device: (value("MAJOR")?.parse().ok()?, value("MINOR")?.parse().ok()?),
        number: value("PARTN")?.parse().ok()?,
        partuuid: None,
        start,
        sectors,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{parse, scan};

    const UEVENT: &str =
        "MAJOR=254\nMINOR=2\nDEVNAME=vda2\nDEVTYPE=partition\nDISKSEQ=9\nPARTN=2\nPARTNAME=root_1.0.0\n";

    #[test]
    fn partition_is_read() {
        let partition = parse(UEVENT, "vda", 64, 2048).unwrap();
        assert_eq!((partition.name.as_str(), partition.disk.as_str()), ("vda2", "vda"));
        assert_eq!((partition.device, partition.number), ((254, 2), 2));
        assert_eq!((partition.start, partition.sectors), (64, 2048));
    }

    #[test]
    fn disk_is_no_partition() {
        assert_eq!(parse(&UEVENT.replace("=partition", "=disk"), "vda", 0, 1), None);
    }

    #[test]
    fn label_cannot_pose_as_another_key() {
        let uevent = UEVENT.replace("root_1.0.0", "PARTN=8");
        assert_eq!(parse(&uevent, "vda", 0, 1).unwrap().number, 2);
    }

    #[test]
    fn name_outside_of_dev_is_refused() {
        let uevent = UEVENT.replace("DEVNAME=vda2", "DEVNAME=../etc");
        assert_eq!(parse(&uevent, "vda", 0, 1), None);
    }

    #[test]
    fn disk_is_the_folder_above() {
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("devices/pci0/block/nvme0n1/nvme0n1p2");
        let class = sys.path().join("class/block");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(device.join("uevent"), UEVENT.replace("vda2", "nvme0n1p2")).unwrap();
        std::fs::write(device.join("start"), "2048\n").unwrap();
        std::fs::write(device.join("size"), "4096\n").unwrap();
        symlink(&device, class.join("nvme0n1p2")).unwrap();
        symlink(device.parent().unwrap(), class.join("nvme0n1")).unwrap();
        let found = scan(&class);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].disk.as_str(), found[0].start, found[0].sectors),
            ("nvme0n1", 2048, 4096)
        );
    }
}
