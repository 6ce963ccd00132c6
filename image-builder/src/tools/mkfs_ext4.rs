//! `mkfs.ext4`: the file system of the state partition.

use std::path::Path;

use uuid::Uuid;

use super::Log;
use super::root::ToolRoot;
use crate::definition::size::{MIB, Size};
use crate::error::Result;

/// What this build asks of ext4, written out so that the host's `mke2fs.conf` does not decide.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Writes an empty ext4 file system of `size` into `image`, at `time` seconds since 1970.
pub fn run(log: &Log, tools: &ToolRoot, image: &Path, size: Size, uuid: Uuid, time: u64) -> Result<()> {
    let mut mkfs = tools.command("mkfs.ext4");
    mkfs.env("MKE2FS_CONFIG", "/dev/null") // complains, and goes on with what is given here
        .env("E2FSPROGS_FAKE_TIME", time.to_string())
        .env("SOURCE_DATE_EPOCH", time.to_string())
        .args([
            "-q", "-F", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1", "-L", "state",
        ])
        .args(["-O", FEATURES])
        .args(["-U", &uuid.to_string()])
        .args([
            "-E",
            &format!("hash_seed={uuid},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard"),
        ])
        .arg(image)
        .arg(format!("{}m", size.0 / MIB));
    log.run("writing the state file system", &mut mkfs)
}
