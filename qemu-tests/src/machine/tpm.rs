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
    _process: Process,
}

impl Tpm {
    /// Starts it for the machine `plan`, which has the private folder `folder`, and waits until it serves.
    pub(super) async fn start(plan: &Plan, folder: &Path) -> Result<Self> {
        let state = folder.join("tpm-state");
        std::fs::create_dir(&state).map_err(|source| Error::file("make a folder for a TPM", &state, source))?;
        let socket = folder.join("tpm");
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
            value("dir=", &state),
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
