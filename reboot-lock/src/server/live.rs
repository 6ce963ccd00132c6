//! The status as readers get it: at most one second old, and as a stream of changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};

use crate::groups::Groups;
use crate::status::Status;
use crate::store::StoreError;

/// How old a status may be. However many look, the store is asked once in this time.
const FRESH: Duration = Duration::from_secs(1);

/// How many readers may follow at the same time.
const FOLLOWERS: usize = 256;

/// A comment is sent this often on a quiet stream, so that proxies keep it and dead readers are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The status of the groups for any number of readers.
pub(super) struct Live {
    groups: Arc<Groups>,
    latest: Mutex<Option<(Instant, Arc<Status>)>>,
    followers: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Live {
    pub(super) fn new(groups: Arc<Groups>, stop: watch::Receiver<bool>) -> Self {
        Self {
            groups,
            latest: Mutex::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            stop,
        }
    }

    /// The status, at most [`FRESH`] old.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn status(&self) -> Result<Arc<Status>, StoreError> {
        // Held while the store is asked, so that the others wait for the same answer instead of asking too.
        let mut latest = self.latest.lock().await;
        if let Some((at, status)) = latest.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(status));
        }
        let status = Arc::new(self.groups.status().await?);
        *latest = Some((Instant::now(), Arc::clone(&status)));
        Ok(status)
    }

    /// A new status now, for the one who has just changed something and wants to see it.
    pub(super) async fn forget(&self) {
        *self.latest.lock().await = None;
    }

    /// The events of one reader: what `render` makes of the status whenever it changes. `None` when too many follow.
    pub(super) fn follow<R>(
        self: &Arc<Self>,
        render: R,
    ) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<R>>>
    where
        R: Fn(&Status) -> String + Send + Sync + 'static,
    {
        let place = Arc::clone(&self.followers).try_acquire_owned().ok()?;
        let follower = Follower {
            live: Arc::clone(self),
            stop: self.stop.clone(),
            shown: None,
            begun: false,
            _place: place,
        };
        let events = futures_util::stream::unfold((follower, render), |(mut follower, render)| async {
            let event = follower.next(&render).await?;
            Some((Ok(event), (follower, render)))
        });
        Some(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }
}

struct Follower {
    live: Arc<Live>,
    stop: watch::Receiver<bool>,
    shown: Option<Arc<Status>>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event, or `None` when the server goes down: an open stream must not hold it up.
    async fn next(&mut self, render: &(impl Fn(&Status) -> String + Sync)) -> Option<Event> {
        loop {
            if std::mem::replace(&mut self.begun, true) {
                tokio::select! {
                    _ = self.stop.wait_for(|stop| *stop) => return None,
                    () = tokio::time::sleep(FRESH) => {}
                }
            }
            match self.live.status().await {
                Ok(status) => {
                    let shown = self.shown.replace(Arc::clone(&status));
                    if !shown.is_some_and(|shown| same(&shown, &status)) {
                        return Some(Event::default().event("status").data(render(&status)));
                    }
                }
                // Said once, and the whole status again when the store is back.
                Err(error) if self.shown.take().is_some() => {
                    return Some(Event::default().event("failure").data(error.to_string()));
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether two statuses differ in nothing but the time.
fn same(one: &Status, other: &Status) -> bool {
    one.groups == other.groups && one.history == other.history
}
