//! `cp`: gives the files of one tree a second name in another, which takes no room.

use std::path::Path;

use super::{Log, command};
use crate::error::Result;

/// Makes the absent folder `to` as `from`, its files being the very ones there.
pub fn links(log: &Log, from: &Path, to: &Path) -> Result<()> {
    let mut cp = command("cp");
    cp.args(["-a", "--link", "--no-target-directory"]).arg(from).arg(to);
    log.run("linking the modules", &mut cp)
}
