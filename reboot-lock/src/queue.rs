//! The queue of one group: requests that wait together are decided together and written in one transaction.
//!
//! The rule about answers: a request is refused only when it certainly was not applied. When a write fails, everybody in
//! it is told [`AskError::Unknown`]; asking again is always safe, since taking and releasing are idempotent.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::{Fleet, Outcome, Request, Semaphore, step};
use crate::store::{Revision, Store, StoreError, Stored};

/// The clock of the server, exchanged in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How many requests are decided in one transaction at most.
const MAX_BATCH: usize = 512;

/// How many requests wait at most; more wait in their connections.
const MAX_WAITING: usize = 1024;

/// How often a transaction is tried while other servers win the race.
const ATTEMPTS: u32 = 10;

/// The longest pause after the first lost race; doubles with each further one up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause after a lost race.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// One request with what the history needs to know about it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What is asked.
    pub request: Request,
    /// What is known of the group's hosts.
    pub fleet: Fleet,
    /// Who asks: the address of a host, or the credential of a person.
    pub by: String,
}

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Other servers won every race; nothing was changed.
    #[error(
        "other servers changed the group at the same time, {ATTEMPTS} times in a row; nothing was changed, ask again"
    )]
    Conflict,
    /// The store was down before anything was written; nothing was changed.
    #[error("{0}; nothing was changed, ask again")]
    Unavailable(String),
    /// The store failed while writing: the request may or may not have been applied.
    #[error("{0}; the request may have been applied, ask again to know")]
    Unknown(String),
    /// The server is going down.
    #[error("the server is shutting down, ask again")]
    ShuttingDown,
}

/// A handle on the queue. When the last one is dropped, the queue finishes what waits and ends.
#[derive(Debug, Clone)]
pub struct Queue(mpsc::Sender<Waiting>);

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    reply: oneshot::Sender<Result<Outcome, AskError>>,
}

impl Queue {
    /// Starts the queue of `group` on the current runtime.
    pub fn start(group: GroupName, store: Arc<dyn Store>, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(group, store, clock, receiver));
        Self(sender)
    }

    /// Puts `ask` into the queue and waits for what comes of it.
    ///
    /// # Errors
    /// See [`AskError`]. Dropping the future does not take the request back.
    pub async fn ask(&self, ask: Ask) -> Result<Outcome, AskError> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { ask, reply };
        self.0.send(waiting).await.map_err(|_| AskError::ShuttingDown)?;
        answer
            .await
            .unwrap_or_else(|_| Err(AskError::Unknown("the server stopped in mid-request".to_owned())))
    }
}

async fn run(group: GroupName, store: Arc<dyn Store>, clock: Clock, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    let mut last_written = None;
    while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
        match decide(&group, store.as_ref(), &clock, &mut batch, &mut last_written).await {
            Ok(outcomes) => {
                for (outcome, one) in outcomes.into_iter().zip(batch.drain(..)) {
                    let _ = one.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::warn!(%group, requests = batch.len(), "not decided: {error}");
                for one in batch.drain(..) {
                    let _ = one.reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Leaves out who has hung up: it gets no slot that nobody knows of, and what it gave back long ago it may have taken again.
/// So before every attempt; the attempt itself is fenced by the revision.
fn still_there(batch: &mut Vec<Waiting>) -> bool {
    batch.retain(|one| !one.reply.is_closed());
    !batch.is_empty()
}

/// Decides `batch` in its order, without those who have hung up, against the stored state, and writes the result if it differs.
///
/// Begins with the state that this queue wrote last, without reading it: the swap proves whether it is still the stored one.
/// Only where nothing would be written does it have to be read.
async fn decide(
    group: &GroupName,
    store: &dyn Store,
    clock: &Clock,
    batch: &mut Vec<Waiting>,
    last_written: &mut Option<Stored>,
) -> Result<Vec<Outcome>, AskError> {
    if !still_there(batch) {
        return Ok(Vec::new());
    }
    if let Some(stored) = last_written.take() {
        let folded = fold(group, stored.semaphore, batch, clock());
        if !folded.events.is_empty()
            && let Some(revision) = write(group, store, stored.revision, &folded).await?
        {
            return Ok(folded.written(revision, last_written));
        }
    }
    for attempt in 0..ATTEMPTS {
        if !still_there(batch) {
            return Ok(Vec::new());
        }
        let stored = store
            .load(group)
            .await
            .map_err(|error| AskError::Unavailable(error.to_string()))?;
        let folded = fold(group, stored.semaphore, batch, clock());
        if folded.events.is_empty() {
            return Ok(folded.written(stored.revision, last_written));
        }
        match write(group, store, stored.revision, &folded).await? {
            Some(revision) => return Ok(folded.written(revision, last_written)),
            None => tokio::time::sleep(pause(attempt)).await,
        }
    }
    Err(AskError::Conflict)
}

/// The new revision, or `None` when someone else has changed the record.
async fn write(
    group: &GroupName,
    store: &dyn Store,
    expected: Revision,
    folded: &Folded,
) -> Result<Option<Revision>, AskError> {
    match store.swap(group, expected, &folded.semaphore, &folded.events).await {
        Ok(revision) => {
            for event in &folded.events {
                tracing::info!(group = %event.group, by = %event.by, "{}", event.change);
            }
            Ok(Some(revision))
        }
        Err(StoreError::Conflict) => Ok(None),
        Err(error @ StoreError::Unavailable(_)) => Err(AskError::Unknown(error.to_string())),
    }
}

struct Folded {
    semaphore: Semaphore,
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
}

impl Folded {
    /// The outcomes, now that `revision` is the stored one.
    fn written(self, revision: Revision, last_written: &mut Option<Stored>) -> Vec<Outcome> {
        let semaphore = self.semaphore;
        *last_written = Some(Stored { revision, semaphore });
        self.outcomes
    }
}

fn fold(group: &GroupName, semaphore: Semaphore, batch: &[Waiting], now: Timestamp) -> Folded {
    let mut folded = Folded {
        semaphore,
        outcomes: Vec::with_capacity(batch.len()),
        events: Vec::new(),
    };
    for Waiting { ask, .. } in batch {
        let (next, outcome, changes) = step(folded.semaphore, ask.request.clone(), &ask.fleet, &ask.by, now);
        folded.semaphore = next;
        folded.events.extend(changes.into_iter().map(|change| Event {
            at: now,
            group: group.clone(),
            change,
            by: ask.by.clone(),
        }));
        folded.outcomes.push(outcome);
    }
    folded
}

/// A random pause, so that servers that collided once do not do so again in step.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(MAX_PAUSE);
    // Without randomness the longest pause is as good as any.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
