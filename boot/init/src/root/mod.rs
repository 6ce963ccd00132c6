//! The verified root device.

mod device_mapper;
mod table;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use twinhull_layout::{RootHash, paths};
use twinhull_verity::{SUPERBLOCK_SIZE, Superblock};

use crate::disk::Partition;
use crate::error::InitError;
use device_mapper::{DeviceMapper, Target};

pub(crate) use table::TableError;

const KERNEL: &str = "check that the initramfs has the modules dm-mod and dm-verity of this kernel";
const SLOT: &str = "boot the other slot or reinstall this one";

/// Opens `root` through dm-verity with the tree on `verity`, read only, and gives the device's path. A block
/// that does not fit the root hash is a read error from here on.
pub(crate) fn open(root: &Partition, verity: &Partition, root_hash: &RootHash) -> Result<PathBuf, InitError> {
    let superblock = read_superblock(Path::new("/dev").join(&verity.name)).map_err(InitError::system(
        format!("reading the hash tree on /dev/{}", verity.name),
        SLOT,
    ))?;
    let superblock = Superblock::parse(&superblock).map_err(TableError::Superblock)?;
    let table = table::table(&superblock, root, verity, root_hash)?;
    let uuid = table::device_uuid(&superblock);

    let mapper = DeviceMapper::open().map_err(InitError::system("opening /dev/mapper/control", KERNEL))?;
    let name = paths::ROOT_DEVICE;
    let target = Target {
        kind: "verity",
        sectors: table.sectors,
        parameters: &table.parameters,
    };
    let device = mapper.activate(name, &uuid, &target).map_err(InitError::system(
        format!("setting up dm-verity on /dev/{}", root.name),
        KERNEL,
    ))?;
    let path = PathBuf::from(format!("/dev/dm-{}", device.minor));
    link(name, &path).map_err(InitError::system(format!("linking /dev/mapper/{name}"), KERNEL))?;
    Ok(path)
}

fn read_superblock(device: PathBuf) -> io::Result<[u8; SUPERBLOCK_SIZE]> {
    let mut bytes = [0; SUPERBLOCK_SIZE];
    File::open(device)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The name under which tools look for the device; on other systems udev makes this link.
fn link(name: &str, device: &Path) -> io::Result<()> {
    fs::create_dir_all("/dev/mapper")?;
    let file_name = device.file_name().unwrap_or_default();
    symlink(Path::new("..").join(file_name), Path::new("/dev/mapper").join(name))
}
