//! QEMU's machine protocol (QMP): one JSON object a line, answers in order, events in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// QEMU answers from its main loop, which emulation does not hold up for long.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest line taken; answers to what is asked here are far smaller.
const LINE: u64 = 1 << 20;

/// The connection to one machine's monitor.
#[derive(Debug)]
pub struct Monitor {
    exchange: AsyncMutex<(OwnedWriteHalf, mpsc::Receiver<Value>)>,
    events: Arc<Mutex<Vec<(String, u64)>>>,
    seen: watch::Receiver<usize>,
    reader: JoinHandle<()>,
}

impl Monitor {
    /// Greets the monitor on a connection that QEMU has just made. Each event is kept with what `position` gives at that moment.
    pub async fn greet(stream: UnixStream, position: impl Fn() -> u64 + Send + 'static) -> Result<Self> {
        let (read, write) = stream.into_split();
        let (answer, answers) = mpsc::channel(4);
        let (count, seen) = watch::channel(0);
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(read);
            let mut line = Vec::new();
            loop {
                line.clear();
                match (&mut lines).take(LINE).read_until(b'\n', &mut line).await {
                    Ok(read) if read > 0 => {}
                    _ => return,
                }
                let Ok(value) = serde_json::from_slice::<Value>(&line) else {
                    continue;
                };
                if let Some(event) = value.get("event").and_then(Value::as_str) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push((event.to_owned(), position()));
                    count.send_replace(log.len());
                } else if value.get("QMP").is_none() && answer.send(value).await.is_err() {
                    return;
                }
            }
        });
        let monitor = Self {
            exchange: AsyncMutex::new((write, answers)),
            events,
            seen,
            reader,
        };
        monitor.ask("qmp_capabilities").await?;
        Ok(monitor)
    }

    /// Runs a command without arguments and gives what it returns.
    pub async fn ask(&self, command: &str) -> Result<Value> {
        self.ask_with(command, json!({})).await
    }

    /// Runs a command and gives what it returns.
    pub async fn ask_with(&self, command: &str, arguments: Value) -> Result<Value> {
        let failed = |reason: String| Error::Monitor {
            command: command.to_owned(),
            reason,
        };
        let mut exchange = self.exchange.lock().await;
        let (write, answers) = &mut *exchange;
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        write
            .write_all(line.as_bytes())
            .await
            .map_err(|error| failed(format!("cannot send it: {error}")))?;
        let answer = tokio::time::timeout(ANSWER, answers.recv())
            .await
            .map_err(|_| failed(format!("no answer within {} s", ANSWER.as_secs())))?
            .ok_or_else(|| failed("QEMU closed the connection".to_owned()))?;
        match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => Err(failed(
                answer["error"]["desc"]
                    .as_str()
                    .unwrap_or("an answer without a result")
                    .to_owned(),
            )),
        }
    }

    /// The positions at which the event `name` has happened, for instance `RESET` at each reboot.
    pub fn happened(&self, name: &str) -> Vec<u64> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let named = events.iter().filter(|(event, _)| event == name);
        named.map(|(_, position)| *position).collect()
    }

    /// Waits for any event after those already seen.
    pub async fn event(&self) {
        let mut seen = self.seen.clone();
        seen.mark_unchanged();
        if seen.changed().await.is_err() {
            // The monitor is gone; whoever waits finds the machine stopped.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn qemu(script: &'static [&'static str]) -> Result<Monitor> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let (read, mut write) = theirs.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"{\"QMP\": {\"version\": {}}}\n").await.unwrap();
            for answer in script {
                lines.next_line().await.unwrap();
                write.write_all(answer.as_bytes()).await.unwrap();
            }
            // Held open until the client goes away.
            drop(lines.next_line().await);
        });
        Monitor::greet(ours, || 7).await
    }

    #[tokio::test]
    async fn events_between_answers_are_counted_and_do_not_answer() {
        let script = &[
            "{\"return\": {}}\n",
            "{\"event\": \"RESET\"}\n{\"return\": {\"status\": \"running\"}}\n",
        ];
        let monitor = qemu(script).await.unwrap();
        assert_eq!(monitor.ask("query-status").await.unwrap()["status"], "running");
        assert_eq!(monitor.happened("RESET"), [7]);
        assert!(monitor.happened("SHUTDOWN").is_empty());
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_qemus_words() {
        let script = &[
            "{\"return\": {}}\n",
            "{\"error\": {\"class\": \"X\", \"desc\": \"no such thing\"}}\n",
        ];
        let monitor = qemu(script).await.unwrap();
        let error = monitor.ask("frobnicate").await.unwrap_err().to_string();
        assert_eq!(error, "QEMU monitor command frobnicate: no such thing");
    }

    #[tokio::test]
    async fn a_closed_connection_is_an_error_not_a_wait() {
        assert!(qemu(&[]).await.is_err() || qemu(&["{\"return\": {}}\n"]).await.unwrap().ask("stop").await.is_err());
    }
}
