//! `twinhull-updater status`

use super::{Exit, Output};
use crate::control::Client;
use crate::paths::Paths;
use crate::runtime;
use crate::status::{Report, Told};

/// Asks the service; without one, or with one that cannot say, reads what there is on the disk.
pub(super) fn run(paths: &Paths, output: &Output) -> anyhow::Result<Exit> {
    let answer = runtime::new()?.block_on(async {
        let client = Client::connect(paths).await?;
        client
            .status()
            .await
            .inspect_err(|error| tracing::warn!("{error}"))
            .ok()
    });
    let report = match answer {
        Some(report) => report,
        None => Report::read(paths, Told::read(&paths.status_file()))?,
    };
    output.print(&report, &report.to_string())?;
    Ok(Exit::Done)
}
