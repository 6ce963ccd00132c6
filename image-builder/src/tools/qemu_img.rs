//! `qemu-img`: writes a disk in QEMU's format.

use std::path::Path;

use super::{Log, command};
use crate::error::Result;

/// Writes the raw disk `from` as qcow2 into `to`.
pub fn qcow2(log: &Log, from: &Path, to: &Path) -> Result<()> {
    let mut convert = command("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(from).arg(to);
    log.run("writing the disk as qcow2", &mut convert)
}
