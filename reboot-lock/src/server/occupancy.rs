//! Who occupies a listener's connections, and who has to leave when it is full.
//!
//! A connection **waits** while the server waits for its client (an idle one, half a head, half a body), and **works** while
//! the server owes it an answer. One that waits can be closed at any time without harm: nothing it asked for has been done.
//! So a crowd of silent connections cannot keep others out: each newcomer takes the place of the oldest of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Occupancy {
    places: usize,
    inner: Mutex<Inner>,
    // Told whenever a place may have become free or a connection begins to wait.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    taken: usize,
    next_turn: u64,
    // Waiting connections, oldest first, each with what tells it to leave.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    occupancy: Arc<Occupancy>,
    leave: Arc<Notify>,
    // The turn under which it waits; `None` while it works.
    turn: Mutex<Option<u64>>,
}

/// While this lives, the connection works and is not asked to leave.
#[derive(Debug)]
pub(super) struct Working(Arc<Place>);

impl Occupancy {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            inner: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// A place for a new connection: at once while there is one, else when the longest waiting connection has left.
    pub(super) async fn enter(self: &Arc<Self>) -> Arc<Place> {
        loop {
            // Before looking, so that a change between looking and waiting is not missed.
            let changed = self.changed.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            changed.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut inner = self.lock();
        if inner.taken >= self.places {
            if let Some((_, oldest)) = inner.waiting.pop_first() {
                oldest.notify_one();
            }
            return None;
        }
        inner.taken += 1;
        let leave = Arc::new(Notify::new());
        let turn = inner.wait(&leave);
        Some(Arc::new(Place {
            occupancy: Arc::clone(self),
            leave,
            turn: Mutex::new(Some(turn)),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wait(&mut self, leave: &Arc<Notify>) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.waiting.insert(turn, Arc::clone(leave));
        turn
    }
}

impl Place {
    /// Ends when the connection has to make room.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Marks the connection as working until the result is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        if let Some(turn) = self.turn().take() {
            self.occupancy.lock().waiting.remove(&turn);
        }
        Working(Arc::clone(self))
    }

    fn turn(&self) -> MutexGuard<'_, Option<u64>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let turn = self.0.occupancy.lock().wait(&self.0.leave);
        *self.0.turn() = Some(turn);
        self.0.occupancy.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let turn = self.turn().take();
        let mut inner = self.occupancy.lock();
        inner.taken -= 1;
        if let Some(turn) = turn {
            inner.waiting.remove(&turn);
        }
        drop(inner);
        self.occupancy.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newcomer_displaces_the_longest_waiting_never_a_working_one() {
        let occupancy = Occupancy::new(3);
        let first = occupancy.enter().await;
        let second = occupancy.enter().await;
        let third = occupancy.enter().await;
        let working = first.work();
        let newcomer = tokio::spawn({
            let occupancy = Arc::clone(&occupancy);
            async move { occupancy.enter().await }
        });
        second.asked_to_leave().await;
        drop(second);
        let fourth = newcomer.await.unwrap();
        drop(working);
        // The first waits again, but for less long than the third and the fourth.
        assert!(occupancy.try_enter().is_none());
        third.asked_to_leave().await;
        drop((third, fourth));
        assert!(occupancy.try_enter().is_some());
    }

    #[tokio::test]
    async fn full_of_working_ones_waits_until_one_is_done() {
        let occupancy = Occupancy::new(1);
        let only = occupancy.enter().await;
        let working = only.work();
        assert!(occupancy.try_enter().is_none());
        let newcomer = tokio::spawn({
            let occupancy = Arc::clone(&occupancy);
            async move { occupancy.enter().await }
        });
        drop(working);
        only.asked_to_leave().await;
        drop(only);
        newcomer.await.unwrap();
        assert_eq!(occupancy.lock().taken, 0);
    }
}
