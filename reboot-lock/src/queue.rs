//! The queue of one group: requests that wait together are decided together and written in one transaction.
//!
//! The rule about answers: a request is refused only when it certainly was not applied. When a write fails, everybody in
//! it is told [`AskError::Unknown`]; asking again is always safe, since taking and releasing are idempotent.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::history::{Change, Event};
use crate::names::GroupName;
use crate::semaphore::{Outcome, Request, Semaphore, step};
use crate::store::{Store, StoreError};

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
    /// Who asks: the address of a host, or the credential of a person.
    pub by: String,
    /// Why, when a person forces a release.
    pub reason: Option<String>,
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
    while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
        // Whoever has hung up gets no slot that nobody knows of.
        batch.retain(|one| !one.reply.is_closed());
        let (asks, replies): (Vec<_>, Vec<_>) = batch.drain(..).map(|one| (one.ask, one.reply)).unzip();
        match decide(&group, store.as_ref(), &clock, &asks).await {
            Ok(outcomes) => {
                for (outcome, reply) in outcomes.into_iter().zip(replies) {
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::warn!(%group, requests = replies.len(), "not decided: {error}");
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Decides `asks` in their order against the stored state, and writes the result if it differs.
async fn decide(group: &GroupName, store: &dyn Store, clock: &Clock, asks: &[Ask]) -> Result<Vec<Outcome>, AskError> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    for attempt in 0..ATTEMPTS {
        let stored = store
            .load(group)
            .await
            .map_err(|error| AskError::Unavailable(error.to_string()))?;
        let folded = fold(group, stored.semaphore, asks, clock());
        if folded.events.is_empty() {
            return Ok(folded.outcomes);
        }
        match store
            .swap(group, stored.revision, &folded.semaphore, &folded.events)
            .await
        {
            Ok(()) => {
                for event in &folded.events {
                    tracing::info!(group = %event.group, by = %event.by, "{}", event.change);
                }
                return Ok(folded.outcomes);
            }
            Err(StoreError::Conflict) => tokio::time::sleep(pause(attempt)).await,
            Err(error @ StoreError::Unavailable(_)) => return Err(AskError::Unknown(error.to_string())),
        }
    }
    Err(AskError::Conflict)
}

struct Folded {
    semaphore: Semaphore,
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
}

fn fold(group: &GroupName, semaphore: Semaphore, asks: &[Ask], now: Timestamp) -> Folded {
    let mut folded = Folded {
        semaphore,
        outcomes: Vec::with_capacity(asks.len()),
        events: Vec::new(),
    };
    for ask in asks {
        let (next, outcome) = step(folded.semaphore, ask.request.clone(), now);
        folded.semaphore = next;
        folded.events.extend(change(ask, &outcome).map(|change| Event {
            at: now,
            group: group.clone(),
            change,
            by: ask.by.clone(),
        }));
        folded.outcomes.push(outcome);
    }
    folded
}

/// What the history says about `outcome`; nothing when it changed nothing.
fn change(ask: &Ask, outcome: &Outcome) -> Option<Change> {
    match (&ask.request, outcome) {
        (Request::Take(id), Outcome::Granted { .. }) => Some(Change::Granted { id: id.clone() }),
        (Request::Release(id), Outcome::Released { since }) => {
            let (id, since) = (id.clone(), *since);
            Some(match ask.reason.clone() {
                Some(reason) => Change::ForcedRelease { id, since, reason },
                None => Change::Released { id, since },
            })
        }
        (Request::SetSlots(_), Outcome::SlotsSet { from, to }) if from != to => {
            Some(Change::Slots { from: *from, to: *to })
        }
        _ => None,
    }
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
