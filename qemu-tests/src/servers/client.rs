//! A client that asks without a pause, and counts how it was answered.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http_client::{self, Method};
use crate::error::{Error, Result};

/// How many failures are told; all of them are in the log.
const TOLD: usize = 5;

/// How a client has been answered so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// Requests that were answered with a status below 400.
    pub answered: u64,
    /// All others.
    pub failed: u64,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// What went wrong in the first few.
    pub failures: Vec<String>,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Client {
    answers: Arc<Mutex<Answers>>,
    asked: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Client {
    /// Asks for `url`, `http://ADDRESS:PORT/PATH` on our loopback, over a new connection each time, with `patience` for each
    /// answer. Failures are written to `log`.
    pub fn start(url: &str, patience: Duration, log: &Path) -> Result<Self> {
        let (address, path) = parse(url).ok_or_else(|| Error::Server {
            server: "client".to_owned(),
            reason: format!("\"{url}\" is not http://127.0.0.1:PORT/PATH"),
        })?;
        let mut log = File::create(log).map_err(|source| Error::file("create the log", log, source))?;
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (count, asked) = watch::channel(0);
        let counted = Arc::clone(&answers);
        let task = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                let failure = match http_client::request(address, Method::Get, &path, None, patience).await {
                    Ok((status, _)) if status < 400 => None,
                    Ok((status, body)) => Some(format!("status {status}: {}", crate::tools::last_part(&body))),
                    Err(error) => Some(error.to_string()),
                };
                let taken = begun.elapsed();
                {
                    let mut answers = counted.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.slowest = answers.slowest.max(taken);
                    match failure {
                        None => answers.answered += 1,
                        Some(failure) => {
                            let line = format!(
                                "{} after {:.3} s: {failure}",
                                jiff::Timestamp::now(),
                                taken.as_secs_f64()
                            );
                            // A full disk shows in the counts all the same.
                            drop(writeln!(log, "{line}"));
                            answers.failed += 1;
                            if answers.failures.len() < TOLD {
                                answers.failures.push(line);
                            }
                        }
                    }
                }
                count.send_modify(|count| *count += 1);
                // A refusal takes no time at all: let others run.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Ok(Self { answers, asked, task })
    }

    /// How it was answered so far.
    pub fn answers(&self) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until one more request has ended, which was under way or not begun yet.
    pub async fn asked_once_more(&self) {
        let mut asked = self.asked.clone();
        asked.mark_unchanged();
        // The task ends only with this value.
        drop(asked.changed().await);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn parse(url: &str) -> Option<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://")?;
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    Some((address.parse().ok()?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::release::ReleaseServer;

    #[tokio::test]
    async fn answers_and_failures_are_counted_apart() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"abc").unwrap();
        let server = ReleaseServer::start(folder.path(), &folder.path().join("release.log"))
            .await
            .unwrap();
        let log = folder.path().join("client.log");
        let url = format!("http://{}/file", server.address());
        let client = Client::start(&url, Duration::from_secs(10), &log).unwrap();
        client.asked_once_more().await;
        client.asked_once_more().await;
        let answers = client.answers();
        assert!(answers.answered >= 2 && answers.failed == 0, "{answers:?}");
        std::fs::remove_file(folder.path().join("file")).unwrap();
        client.asked_once_more().await;
        client.asked_once_more().await;
        let answers = client.answers();
        assert!(
            answers.failed >= 1 && answers.failures[0].contains("status 404"),
            "{answers:?}"
        );
        assert!(std::fs::read_to_string(log).unwrap().contains("status 404"));
    }

    #[test]
    fn only_addresses_are_asked() {
        assert_eq!(
            parse("http://127.0.0.1:80"),
            Some((([127, 0, 0, 1], 80).into(), "/".to_owned()))
        );
        assert_eq!(parse("http://127.0.0.1:80/a/b").unwrap().1, "/a/b");
        assert_eq!(parse("http://localhost:80/"), None);
        assert_eq!(parse("https://127.0.0.1:80/"), None);
    }
}
