//! The TPM of a machine: the emulator of the package swtpm, beside QEMU.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use super::Plan;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::tools;

/// How long to leave it alone between two looks whether it serves.
const LOOK: Duration = Duration::from_millis(50);

/// A TPM 2.0 that knows nothing yet; gone when dropped, with all that it was told.
#[derive(Debug)]
pub(super) struct Tpm {
    socket: PathBuf,
    // It has its files open as long as it runs, so it ends first.
    _process: Process,
    _state: tempfile::TempDir,
}

impl Tpm {
    /// Starts it for the machine `plan` and waits until it serves.
    pub(super) async fn start(plan: &Plan) -> Result<Self> {
        let at = |kind: &str| plan.folder.join(format!("{}.{kind}", plan.name));
        let state = tempfile::tempdir_in(&plan.folder)
            .map_err(|source| Error::file("make a folder for a TPM in", &plan.folder, source))?;
        let socket = at("tpm");
        // A machine of the same name may have been started in this folder before.
        drop(std::fs::remove_file(&socket));
        let log = plan.logs.join(format!("{}.tpm.log", plan.name));
        let value = |key: &str, path: &Path| {
            let mut value = OsString::from(key);
            value.push(path);
            value
        };
        let line = [
            "socket".into(),
            "--tpm2".into(),
            "--tpmstate".into(),
            value("dir=", state.path()),
            "--ctrl".into(),
            value("type=unixio,path=", &socket),
        ];
        let process = Process::start(&tools::program("swtpm")?, line, &log)?;
        let serving = async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let limit = plan.pace.limit(30);
        let reason = tokio::select! {
            () = serving => None,
            _ = process.wait() => Some("ended before it served".to_owned()),
            () = tokio::time::sleep(limit) => Some(format!("does not serve after {} s", limit.as_secs())),
        };
        match reason {
            None => Ok(Self {
                socket,
                _process: process,
                _state: state,
            }),
            Some(reason) => {
                let said = tools::last_part(&std::fs::read(&log).unwrap_or_default());
                Err(Error::Server {
                    server: "swtpm".to_owned(),
                    reason: format!("{reason}: {said}"),
                })
            }
        }
    }

    /// Where QEMU controls it.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}
