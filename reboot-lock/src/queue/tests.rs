use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::history::Change;
use crate::names::HostId;
use crate::policy::Policy;
use crate::semaphore::Report;
use crate::semaphore::tests::any_request;
use crate::store::{Answer, Embedded, Revision, Stored};

/// What a scripted store does with a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Apply,
    Conflict,
    /// Applies, but says that it failed: the answer was lost on the way.
    ApplyAndFail,
    Fail,
}

/// A store in memory that follows a script, then applies everything.
#[derive(Default)]
struct Scripted {
    script: Mutex<Vec<Act>>,
    record: Mutex<(u64, Semaphore)>,
    history: Mutex<Vec<Event>>,
    swaps: AtomicU32,
    down: std::sync::atomic::AtomicBool,
}

impl Scripted {
    fn new(slots: u32, script: &[Act]) -> Arc<Self> {
        let store = Self::default();
        store.record.lock().unwrap().1.policy = Policy::with_slots(slots);
        store.script.lock().unwrap().extend(script.iter().rev());
        Arc::new(store)
    }

    fn holders(&self) -> Vec<String> {
        let record = self.record.lock().unwrap();
        record.1.holders.keys().map(ToString::to_string).collect()
    }

    fn apply(&self, semaphore: &Semaphore, events: &[Event]) {
        let mut record = self.record.lock().unwrap();
        *record = (record.0 + 1, semaphore.clone());
        self.history.lock().unwrap().extend_from_slice(events);
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("the store is down".to_owned())
}

impl Store for Scripted {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn load<'a>(&'a self, _: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>> {
        Box::pin(async {
            if self.down.load(Ordering::Relaxed) {
                return Err(down());
            }
            let (revision, semaphore) = self.record.lock().unwrap().clone();
            Ok(Stored {
                revision: Revision(revision),
                semaphore,
            })
        })
    }

    fn swap<'a>(
        &'a self,
        _: &'a GroupName,
        expected: Revision,
        semaphore: &'a Semaphore,
        events: &'a [Event],
    ) -> Answer<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            self.swaps.fetch_add(1, Ordering::Relaxed);
            // Others get to run, as with a store that takes its time.
            tokio::task::yield_now().await;
            assert_eq!(expected.0, self.record.lock().unwrap().0);
            match self.script.lock().unwrap().pop().unwrap_or(Act::Apply) {
                Act::Conflict => return Err(StoreError::Conflict),
                Act::Fail => return Err(down()),
                Act::ApplyAndFail => {
                    self.apply(semaphore, events);
                    return Err(down());
                }
                Act::Apply => self.apply(semaphore, events),
            }
            Ok(Revision(self.record.lock().unwrap().0))
        })
    }

    fn history(&self, _: usize) -> Answer<'_, Result<Vec<Event>, StoreError>> {
        Box::pin(async { Ok(self.history.lock().unwrap().clone()) })
    }
}

fn clock() -> Clock {
    Arc::new(|| Timestamp::UNIX_EPOCH)
}

fn queue(store: &Arc<Scripted>) -> Queue {
    Queue::start("g".parse().unwrap(), Arc::clone(store) as Arc<dyn Store>, clock())
}

fn id(number: usize) -> HostId {
    format!("host-{number}").parse().unwrap()
}

fn ask(request: Request) -> Ask {
    Ask {
        request,
        fleet: Fleet::default(),
        by: "test".to_owned(),
    }
}

async fn take(queue: &Queue, number: usize) -> Result<Outcome, AskError> {
    queue.ask(ask(Request::Take(id(number), Report::default()))).await
}

#[tokio::test]
async fn requests_that_wait_together_are_one_transaction() {
    let store = Scripted::new(5, &[]);
    let queue = queue(&store);
    let all: Vec<_> = (0..100)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { take(&queue, n).await })
        })
        .collect();
    let mut granted = 0;
    for one in all {
        granted += usize::from(matches!(one.await.unwrap(), Ok(Outcome::Granted { .. })));
    }
    assert_eq!(granted, 5);
    assert_eq!(store.holders().len(), 5);
    let swaps = store.swaps.load(Ordering::Relaxed);
    assert!(swaps <= 3, "{swaps} transactions");
}

#[tokio::test]
async fn lost_races_are_tried_again_and_grant_once() {
    let store = Scripted::new(1, &[Act::Conflict; 5]);
    let queue = queue(&store);
    assert!(matches!(take(&queue, 1).await, Ok(Outcome::Granted { .. })));
    assert_eq!(store.swaps.load(Ordering::Relaxed), 6);
    assert_eq!(store.history.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn races_lost_for_ever_end_as_a_conflict_with_nothing_changed() {
    let store = Scripted::new(1, &[Act::Conflict; 100]);
    let queue = queue(&store);
    assert_eq!(take(&queue, 1).await, Err(AskError::Conflict));
    assert_eq!(store.swaps.load(Ordering::Relaxed), ATTEMPTS);
    assert!(store.holders().is_empty());
}

#[tokio::test]
async fn failed_write_is_unknown_never_a_refusal() {
    for (act, held) in [(Act::ApplyAndFail, true), (Act::Fail, false)] {
        let store = Scripted::new(1, &[act]);
        let queue = queue(&store);
        // The second is refused only because the first was granted, and nobody knows whether it was.
        let (first, second) = tokio::join!(take(&queue, 1), take(&queue, 2));
        for answer in [first, second] {
            assert!(matches!(answer, Err(AskError::Unknown(_))), "{act:?}: {answer:?}");
        }
        let again = take(&queue, 1).await;
        match again {
            Ok(Outcome::AlreadyHeld { .. }) => assert!(held),
            Ok(Outcome::Granted { .. }) => assert!(!held),
            other => panic!("{act:?}: {other:?}"),
        }
        assert_eq!(store.holders(), ["host-1"]);
    }
}

#[tokio::test]
async fn store_that_is_down_before_anything_is_written_says_so() {
    let store = Scripted::new(1, &[]);
    store.down.store(true, Ordering::Relaxed);
    let queue = queue(&store);
    assert!(matches!(take(&queue, 1).await, Err(AskError::Unavailable(_))));
    store.down.store(false, Ordering::Relaxed);
    assert!(matches!(take(&queue, 1).await, Ok(Outcome::Granted { .. })));
}

#[tokio::test]
async fn who_hung_up_while_waiting_gets_no_slot() {
    let store = Scripted::new(2, &[]);
    let queue = queue(&store);
    let gone = queue.ask(ask(Request::Take(id(1), Report::default())));
    // Polled once, so that it is in the queue, then dropped.
    tokio::select! {
        biased;
        _ = gone => panic!("answered at once"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(take(&queue, 2).await, Ok(Outcome::Granted { .. })));
    assert_eq!(store.holders(), ["host-2"]);
}

#[tokio::test]
async fn forced_release_is_told_from_an_ordinary_one() {
    let store = Scripted::new(1, &[]);
    let queue = queue(&store);
    take(&queue, 1).await.unwrap();
    let forced = Ask {
        request: Request::ForceRelease {
            id: id(1),
            reason: "disk died".to_owned(),
        },
        fleet: Fleet::default(),
        by: "alice".to_owned(),
    };
    queue.ask(forced.clone()).await.unwrap();
    // The second time there is nothing to release, and nothing to write down.
    queue.ask(forced).await.unwrap();
    let history = store.history.lock().unwrap();
    let last = history.last().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(last.by, "alice");
    assert!(
        matches!(&last.change, Change::ForcedRelease { reason, .. } if reason == "disk died"),
        "{last:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn queue_over_the_embedded_store_does_what_the_pure_function_does(
        requests in proptest::collection::vec(any_request(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(Embedded::open(&folder.path().join("lock.redb")).unwrap());
            let group: GroupName = "g".parse().unwrap();
            let queue = Queue::start(group.clone(), Arc::clone(&store) as Arc<dyn Store>, clock());
            let mut model = Semaphore::default();
            for request in requests {
                let (next, expected, _) = step(model, request.clone(), &Fleet::default(), "test", Timestamp::UNIX_EPOCH);
                model = next;
                assert_eq!(queue.ask(ask(request)).await, Ok(expected));
            }
            assert_eq!(store.load(&group).await.unwrap().semaphore, model);
        });
    }
}
