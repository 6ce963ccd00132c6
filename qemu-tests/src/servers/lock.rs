//! The reboot lock: the real `twinhull-lock serve` as a child, and a client that plays another host.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::http_client::{self, Method};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::tools;

/// The group that our hosts are in; it has one slot.
pub const GROUP: &str = "default";

/// How long the server may take to say where it listens.
const START: Duration = Duration::from_secs(30);

/// What the server writes once it takes connections.
const LISTENING: &str = "listening on http://";

/// A running lock server with one group of one slot.
#[derive(Debug)]
pub struct LockServer {
    address: SocketAddr,
    // Held for its Drop: the server ends with this value.
    _process: Process,
}

/// What `GET /v1/status` says; fields that no scenario looks at are left out.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The groups.
    pub groups: Vec<Group>,
    /// What changed lately, newest first.
    pub history: Vec<Event>,
}

/// One group.
#[derive(Debug, Clone, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Who holds its slots.
    pub holders: Vec<Holder>,
}

/// A host that holds a slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Holder {
    /// The host.
    pub id: String,
    /// Since when.
    pub since: jiff::Timestamp,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// When.
    pub at: jiff::Timestamp,
    /// What: `granted`, `released`, `forced-release`, `slots`.
    pub what: String,
    /// Which host it is about.
    pub id: Option<String>,
}

impl LockServer {
    /// Starts `program` with an empty store in `folder`, writing to `log`.
    pub async fn start(program: &Path, folder: &Path, log: &Path) -> Result<Self> {
        let store = folder.join("lock.redb");
        let group = format!("{GROUP}=1");
        let process = Process::start(
            program,
            ["serve", "--plain-http", "--listen", "127.0.0.1:0", "--store"]
                .map(std::ffi::OsStr::new)
                .into_iter()
                .chain([store.as_os_str(), "--group".as_ref(), group.as_ref()]),
            log,
        )?;
        let listening = async {
            loop {
                let text = std::fs::read(log).unwrap_or_default();
                if let Some(address) = announced(&String::from_utf8_lossy(&text)) {
                    return Ok(address);
                }
                if let Some(status) = process.status() {
                    let reason = format!("ended with {status}: {}", tools::last_part(&text));
                    return Err(Error::Server {
                        server: "twinhull-lock".to_owned(),
                        reason,
                    });
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let address = tokio::time::timeout(START, listening)
            .await
            .map_err(|_| Error::Server {
                server: "twinhull-lock".to_owned(),
                reason: format!(
                    "did not say within {} s where it listens; see {}",
                    START.as_secs(),
                    log.display()
                ),
            })??;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes a slot as host `id`.
    pub async fn take(&self, id: &str) -> Result<()> {
        self.ask("/v1/pre-reboot", id).await
    }

    /// Gives the slot of host `id` back.
    pub async fn release(&self, id: &str) -> Result<()> {
        self.ask("/v1/steady-state", id).await
    }

    /// Who holds what, and what has changed.
    pub async fn status(&self) -> Result<Status> {
        let (status, body) =
            http_client::request(self.address, Method::Get, "/v1/status", None, http_client::USUAL).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Server {
            server: "twinhull-lock".to_owned(),
            reason: format!("status ({status}) cannot be read: {error}"),
        })
    }

    /// Who holds the only slot now.
    pub async fn holder(&self) -> Result<Option<Holder>> {
        let groups = self.status().await?.groups;
        Ok(groups
            .into_iter()
            .find(|group| group.name == GROUP)
            .and_then(|group| group.holders.into_iter().next()))
    }

    async fn ask(&self, path: &str, id: &str) -> Result<()> {
        let body = json!({ "client_params": { "id": id, "group": GROUP } });
        let (status, answer) =
            http_client::request(self.address, Method::Post, path, Some(body), http_client::USUAL).await?;
        if status == 200 {
            return Ok(());
        }
        let reason = format!("{path} for {id}: status {status}: {}", tools::last_part(&answer));
        Err(Error::Server {
            server: "twinhull-lock".to_owned(),
            reason,
        })
    }
}

/// The address in the line that says where the server listens.
fn announced(text: &str) -> Option<SocketAddr> {
    let rest = text.split_once(LISTENING)?.1;
    // Without its end, the line may have been read in the middle of being written.
    let (line, _) = rest.split_once('\n')?;
    line.split([' ', '/']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_taken_from_a_whole_line_only() {
        assert_eq!(announced("listening on http://127.0.0.1:41"), None);
        let whole = "starting\nlistening on http://127.0.0.1:4123\n";
        assert_eq!(announced(whole), Some(([127, 0, 0, 1], 4123).into()));
    }

    #[test]
    fn history_of_any_kind_is_read() {
        let text = r#"{"now":"2026-01-01T00:00:00Z","groups":[{"name":"default","slots":1,"configured":true,"holders":[]}],
            "history":[{"at":"2026-01-01T00:00:00Z","group":"default","what":"granted","id":"a","by":"x"},
                       {"at":"2026-01-01T00:00:00Z","group":"default","what":"slots","from":1,"to":2,"by":"x"}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.history[0].id.as_deref(), Some("a"));
        assert_eq!(status.history[1].id, None);
    }
}
