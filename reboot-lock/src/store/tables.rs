//! The two tables of the embedded store and the transactions on them, over any `redb` database.
//!
//! `groups`: name -> JSON of the record. `history`: sequence number -> JSON of the event, a bounded ring.

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{Revision, Stored};
use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::Semaphore;

const GROUPS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("groups");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// How many events are kept. About 200 bytes each.
pub(super) const HISTORY_KEPT: u64 = 10_000;

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// The file could not be read or written, or is damaged.
    #[error(transparent)]
    Database(Box<redb::Error>),
    /// A record is not what this version writes.
    #[error("{0} cannot be understood: {1}")]
    Content(String, serde_json::Error),
}

impl<E: Into<redb::Error>> From<E> for TableError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// One compare-and-swap.
#[derive(Debug, Clone)]
pub(super) struct Swap {
    pub(super) group: GroupName,
    pub(super) expected: Revision,
    pub(super) semaphore: Semaphore,
    pub(super) events: Vec<Event>,
}

/// The record as it is on disk. A field of a later version makes an older server refuse the record rather than lose it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    revision: u64,
    semaphore: Semaphore,
}

/// Creates what is missing and writes every record anew under its next revision, in one transaction.
///
/// Proves when the store is opened that the file can be written, and that everything a reader sees from here on has been
/// flushed by this process: after an error of the disk, the system's cache may show what never reached it.
pub(super) fn seal(db: &Database) -> Result<(), TableError> {
    let transaction = db.begin_write()?;
    {
        let mut groups = transaction.open_table(GROUPS)?;
        let mut records = Vec::new();
        for entry in groups.iter()? {
            let (name, bytes) = entry?;
            records.push((name.value().to_owned(), decode_record(name.value(), bytes.value())?));
        }
        for (name, mut record) in records {
            record.revision += 1;
            groups.insert(name.as_str(), encode(&record, &name)?.as_slice())?;
        }
        transaction.open_table(HISTORY)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The record of `group`.
pub(super) fn load(db: &Database, group: &GroupName) -> Result<Stored, TableError> {
    let groups = db.begin_read()?.open_table(GROUPS)?;
    let Some(bytes) = groups.get(group.as_str())? else {
        return Ok(Stored {
            revision: Revision(0),
            semaphore: Semaphore::default(),
        });
    };
    let record = decode_record(group.as_str(), bytes.value())?;
    Ok(Stored {
        revision: Revision(record.revision),
        semaphore: record.semaphore,
    })
}

/// The names of all groups with a record.
pub(super) fn groups(db: &Database) -> Result<Vec<GroupName>, TableError> {
    let groups = db.begin_read()?.open_table(GROUPS)?;
    let mut names = Vec::new();
    for entry in groups.iter()? {
        let (name, _) = entry?;
        // A name that this version does not allow cannot be asked for either.
        names.extend(name.value().parse::<GroupName>().ok());
    }
    Ok(names)
}

/// The latest events, newest first.
pub(super) fn history(db: &Database, limit: usize) -> Result<Vec<Event>, TableError> {
    let history = db.begin_read()?.open_table(HISTORY)?;
    let mut events = Vec::new();
    for entry in history.iter()?.rev().take(limit) {
        let (number, bytes) = entry?;
        let event = serde_json::from_slice(bytes.value())
            .map_err(|error| TableError::Content(format!("event {}", number.value()), error))?;
        events.push(event);
    }
    Ok(events)
}

/// Applies `swaps` in their order in one durable transaction. Each gets whether its revision was the expected one; those
/// whose was not are left out and do not disturb the others.
///
/// After an error nobody knows what is on the disk: the database must be opened and [sealed](seal) again.
pub(super) fn commit(db: &Database, swaps: &[Swap]) -> Result<Vec<bool>, TableError> {
    let transaction = db.begin_write()?;
    let mut matched = Vec::with_capacity(swaps.len());
    {
        let mut groups = transaction.open_table(GROUPS)?;
        let mut history = transaction.open_table(HISTORY)?;
        let mut next = history.last()?.map_or(0, |(number, _)| number.value() + 1);
        for swap in swaps {
            let name = swap.group.as_str();
            let revision = match groups.get(name)? {
                Some(bytes) => decode_record(name, bytes.value())?.revision,
                None => 0,
            };
            matched.push(revision == swap.expected.0);
            if revision != swap.expected.0 {
                continue;
            }
            let record = Record {
                revision: swap.expected.next().0,
                semaphore: swap.semaphore.clone(),
            };
            groups.insert(name, encode(&record, name)?.as_slice())?;
            for event in &swap.events {
                history.insert(next, encode(event, "event")?.as_slice())?;
                next += 1;
            }
        }
        while history.len()? > HISTORY_KEPT {
            history.pop_first()?;
        }
    }
    // Durability is `redb`'s default (`Immediate`): the file is flushed before `commit` returns.
    transaction.commit()?;
    Ok(matched)
}

fn decode_record(group: &str, bytes: &[u8]) -> Result<Record, TableError> {
    serde_json::from_slice(bytes).map_err(|error| TableError::Content(format!("the record of group {group}"), error))
}

fn encode(value: &impl Serialize, what: &str) -> Result<Vec<u8>, TableError> {
    serde_json::to_vec(value).map_err(|error| TableError::Content(what.to_owned(), error))
}

#[cfg(test)]
mod tests;
