//! A program of the host that serves on one port of our loopback: etcd, a registry, a load balancer, or anything else.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;

use super::http_client::{self, Method};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::tools;

/// How long to leave a program alone between two looks whether it serves.
const LOOK: Duration = Duration::from_millis(50);

/// How such a program is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is called in messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder it is started in.
    pub folder: PathBuf,
    /// Where it serves.
    pub address: SocketAddr,
    /// The path that is asked for until the status is below 400; without one, taking connections is enough.
    pub ready: Option<String>,
    /// Where what it writes goes.
    pub log: PathBuf,
}

impl Program {
    /// Starts it and waits until it serves, at most for `limit`. It ends with the value that is given.
    pub async fn start(&self, limit: Duration) -> Result<Process> {
        let process = Process::start_in(&self.program, &self.arguments, &self.folder, &self.log)?;
        let said = || tools::last_part(&std::fs::read(&self.log).unwrap_or_default());
        let failed = |reason: String| Error::Server {
            server: self.name.clone(),
            reason,
        };
        let serving = async {
            while !self.serves().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = serving => Ok(process),
            status = process.wait() => {
                let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
                Err(failed(format!("ended with {status} before it served: {}", said())))
            }
            () = tokio::time::sleep(limit) => Err(failed(format!(
                "does not serve on {} after {} s; see {}: {}", self.address, limit.as_secs(), self.log.display(), said()
            ))),
        }
    }

    async fn serves(&self) -> bool {
        match &self.ready {
            None => TcpStream::connect(self.address).await.is_ok(),
            Some(path) => http_client::request(self.address, Method::Get, path, None, http_client::USUAL)
                .await
                .is_ok_and(|(status, _)| status < 400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &tempfile::TempDir, script: &str, port: u16) -> Program {
        Program {
            name: "x".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: folder.path().to_owned(),
            address: ([127, 0, 0, 1], port).into(),
            ready: None,
            log: folder.path().join("log"),
        }
    }

    #[tokio::test]
    async fn a_program_that_ends_at_once_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = program(&folder, "pwd; echo no such option; exit 3", 1)
            .start(Duration::from_mins(1))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("no such option"),
            "{text}"
        );
        assert!(
            text.contains(folder.path().to_str().unwrap()),
            "started in another folder: {text}"
        );
    }

    #[tokio::test]
    async fn a_program_that_never_serves_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let error = program(&folder, "exec sleep 1000", 1)
            .start(Duration::from_millis(1))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not serve on 127.0.0.1:1"), "{error}");
    }
}
