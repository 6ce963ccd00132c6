use std::sync::Arc;

use jiff::Timestamp;
use redb::Database;

use super::super::power::Disk;
use super::*;
use crate::history::Change;
use crate::policy::{Policy, Slots};

const COMMITS: u32 = 8;

fn open(disk: &Arc<Disk>) -> Result<Database, TableError> {
    let database = Database::builder().create_with_backend(disk.plug_in())?;
    seal(&database)?;
    Ok(database)
}

fn state(number: u32) -> Semaphore {
    Semaphore {
        policy: Policy::with_slots(number),
        ..Semaphore::default()
    }
}

fn policy(from: u32, to: u32) -> Change {
    Change::Policy {
        from: Policy::with_slots(from),
        to: Policy::with_slots(to),
        reason: None,
    }
}

fn swap(revision: Revision, number: u32) -> Swap {
    let group: GroupName = "g".parse().unwrap();
    Swap {
        group: group.clone(),
        expected: revision,
        semaphore: state(number),
        events: vec![Event {
            at: Timestamp::UNIX_EPOCH,
            group,
            change: policy(number - 1, number),
            by: "test".to_owned(),
        }],
    }
}

/// Commits states 1 to [`COMMITS`] until the disk fails. Returns the last one that was said to be durable.
fn work(disk: &Arc<Disk>) -> Option<u32> {
    let database = open(disk).ok()?;
    let mut durable = 0;
    for number in 1..=COMMITS {
        let Ok(stored) = load(&database, &"g".parse().unwrap()) else {
            break;
        };
        match commit(&database, &[swap(stored.revision, number)]) {
            Ok(matched) => assert_eq!(matched, [true]),
            Err(_) => break,
        }
        durable = number;
    }
    Some(durable)
}

#[test]
fn power_cut_at_any_write_keeps_what_was_answered_and_invents_nothing() {
    let whole = Disk::new();
    assert_eq!(work(&whole), Some(COMMITS));
    let operations = whole.operations();
    assert!(operations > u64::from(COMMITS) * 2, "{operations}");
    let mut seed = 1_u64;
    for cut in 0..operations {
        let disk = Disk::new();
        disk.fail_after(cut);
        let durable = work(&disk);
        for _ in 0..4 {
            let after = disk.after_power_cut(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            });
            let database = match (open(&after), durable) {
                (Ok(database), _) => database,
                // The very first start was cut off while the file was being made: nothing had been promised.
                (Err(_), None) => continue,
                (Err(error), Some(durable)) => panic!("cut {cut} after {durable}: {error}"),
            };
            let found = load(&database, &"g".parse().unwrap()).unwrap().semaphore;
            let Slots::Count(found) = found.policy.slots else {
                panic!("{found:?}")
            };
            let durable = durable.unwrap_or(0);
            assert!(
                found == durable || found == durable + 1,
                "cut {cut}: {found} after {durable}"
            );
            assert_eq!(history(&database, 100).unwrap().len(), found as usize, "cut {cut}");
        }
    }
}

#[test]
fn history_is_a_ring() {
    let database = open(&Disk::new()).unwrap();
    let group: GroupName = "g".parse().unwrap();
    let mut many = swap(Revision(0), 1);
    many.events = (0..HISTORY_KEPT).map(|_| many.events[0].clone()).collect();
    commit(&database, &[many]).unwrap();
    let revision = load(&database, &group).unwrap().revision;
    commit(&database, &[swap(revision, 2)]).unwrap();
    let all = history(&database, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, HISTORY_KEPT);
    assert_eq!(all[0].change, policy(1, 2));
}

#[test]
fn one_lost_race_does_not_disturb_the_others_of_a_transaction() {
    let database = open(&Disk::new()).unwrap();
    let mut other = swap(Revision(0), 3);
    other.group = "other".parse().unwrap();
    let matched = commit(&database, &[swap(Revision(9), 2), other]).unwrap();
    assert_eq!(matched, [false, true]);
    assert_eq!(load(&database, &"g".parse().unwrap()).unwrap().revision, Revision(0));
    assert_eq!(load(&database, &"other".parse().unwrap()).unwrap().semaphore, state(3));
    assert_eq!(history(&database, 10).unwrap().len(), 1);
}

#[test]
fn record_of_a_later_version_is_refused_not_rewritten() {
    let disk = Disk::new();
    let database = open(&disk).unwrap();
    let transaction = database.begin_write().unwrap();
    let later = br#"{"revision":5,"semaphore":{"slots":1,"holders":{}},"zones":["a"]}"#;
    transaction.open_table(GROUPS).unwrap().insert("g", &later[..]).unwrap();
    transaction.commit().unwrap();
    let error = load(&database, &"g".parse().unwrap()).unwrap_err().to_string();
    assert!(
        error.starts_with("the record of group g cannot be understood"),
        "{error}"
    );
    drop(database);
    assert!(open(&disk).is_err());
}
