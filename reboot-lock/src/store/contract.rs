//! What every store must do, checked the same way for each.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Revision, Store, StoreError};
use crate::history::{Change, Event};
use crate::names::GroupName;
use crate::policy::Policy;
use crate::semaphore::{Hold, Semaphore};

fn event(group: &GroupName, number: u32) -> Event {
    Event {
        at: Timestamp::UNIX_EPOCH,
        group: group.clone(),
        change: Change::Policy {
            from: Policy::with_slots(number),
            to: Policy::with_slots(number + 1),
            reason: None,
        },
        by: "test".to_owned(),
    }
}

fn state(slots: u32) -> Semaphore {
    let id = format!("host-{slots}").parse().unwrap();
    let hold = Hold {
        since: Timestamp::UNIX_EPOCH,
        zone: None,
        version: None,
        overdue: false,
    };
    Semaphore {
        policy: Policy::with_slots(slots),
        holders: [(id, hold)].into(),
        ..Semaphore::default()
    }
}

/// Panics unless `store`, which must be empty, keeps what [`Store`] promises.
pub(crate) async fn check(store: &dyn Store) {
    let (one, other): (GroupName, GroupName) = ("one".parse().unwrap(), "other".parse().unwrap());

    let absent = store.load(&one).await.unwrap();
    assert_eq!((absent.revision, absent.semaphore), (Revision(0), Semaphore::default()));
    assert!(store.groups().await.unwrap().is_empty());

    // A record is created once, read back whole, and replaced only by who knows its revision.
    store
        .swap(&one, Revision(0), &state(1), &[event(&one, 1)])
        .await
        .unwrap();
    let again = store.swap(&one, Revision(0), &state(9), &[event(&one, 9)]).await;
    assert_eq!(again, Err(StoreError::Conflict));
    let first = store.load(&one).await.unwrap();
    assert_eq!(first.semaphore, state(1));
    let events = [event(&one, 2), event(&one, 3)];
    let revision = store.swap(&one, first.revision, &state(2), &events).await.unwrap();
    let second = store.load(&one).await.unwrap();
    assert_eq!(second.revision, revision);
    assert!(second.revision > first.revision);
    let late = store.swap(&one, first.revision, &state(9), &[event(&one, 9)]).await;
    assert_eq!(late, Err(StoreError::Conflict));
    assert_eq!(store.load(&one).await.unwrap(), second);

    // Another group is another record.
    store
        .swap(&other, Revision(0), &state(5), &[event(&other, 5)])
        .await
        .unwrap();
    assert_eq!(store.load(&one).await.unwrap(), second);
    let mut groups = store.groups().await.unwrap();
    groups.sort();
    assert_eq!(groups, [one.clone(), other.clone()]);

    // Events of swaps that happened, newest first, and of no others.
    let expected = [event(&other, 5), event(&one, 3), event(&one, 2), event(&one, 1)];
    assert_eq!(store.history(10).await.unwrap(), expected);
    assert_eq!(store.history(2).await.unwrap(), expected[..2]);

    // Of those who read the same revision, one wins.
    let won = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let race = (0..8).map(|number| {
        let (won, one) = (Arc::clone(&won), &one);
        async move {
            match store.swap(one, second.revision, &state(10 + number), &[]).await {
                Ok(_) => won.store(10 + number, std::sync::atomic::Ordering::Relaxed),
                Err(StoreError::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    join_all(race).await;
    let winner = won.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(store.load(&one).await.unwrap().semaphore, state(winner));
}

/// Polls all of `futures` in turn until each has ended.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut open: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        open.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if open.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
