//! `twinhull-updater status`

use super::{Exit, Output};
use crate::host::{BootDisk, Running};
use crate::io::{HostIo, Io};
use crate::machine;
use crate::paths::Paths;
use crate::status::{Report, Told};

pub(super) fn run(paths: &Paths, output: &Output) -> anyhow::Result<Exit> {
    let running = Running::read(paths)?;
    let known = machine::load(&paths.state_file())?;
    let told = Told::read(&paths.status_file());
    let disk = BootDisk::find(paths)
        .map_err(|error| error.to_string())
        .and_then(|disk| HostIo::open_to_read(&disk, paths).map_err(|error| error.to_string()));
    let io = disk.as_ref().map(|io| io as &dyn Io).map_err(Clone::clone);
    let report = Report::new(&running, known, told, io);
    output.print(&report, &report.to_string())?;
    Ok(Exit::Done)
}
