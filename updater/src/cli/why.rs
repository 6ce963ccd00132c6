//! `twinhull-updater why`

use jiff::Timestamp;
use serde_json::json;

use super::{Exit, Output};
use crate::host::Running;
use crate::machine;
use crate::paths::Paths;
use crate::status::{Report, Told};

pub(super) fn run(paths: &Paths, output: &Output) -> anyhow::Result<Exit> {
    let running = Running::read(paths)?;
    let known = machine::load(&paths.state_file())?;
    let told = Told::read(&paths.status_file());
    // The reason is in what is kept and told; the disk has nothing to say about it, so anybody may ask.
    let report = Report::new(&running, known, told, Err("not asked".to_owned()));
    let why = report.why(Timestamp::now());
    output.print(&json!({"why": why, "code": report.state.code}), &why)?;
    Ok(Exit::Done)
}
