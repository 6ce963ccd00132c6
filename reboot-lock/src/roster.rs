//! The hosts that a server has met, in memory: what shares are taken of, who waits, and which versions run.
//!
//! Nothing here is written to the store: a hundred thousand hosts that ask once a minute change a few bytes each. What the
//! rules depend on is in the group's record; after a restart the number of hosts stands there until they have been met
//! again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::names::HostId;
use crate::semaphore::{Fleet, Report};

/// How many hosts a server remembers, over all groups. Others are served all the same, but not counted.
pub const MAX_KNOWN: usize = 200_000;

/// How many different versions and zones are told apart in a group; more count as unknown.
const MAX_LABELS: usize = 256;

/// A host that has not asked for so long is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A host that was refused and has not asked again for so long no longer waits.
const WAITS: SignedDuration = SignedDuration::from_mins(10);

/// How often forgetting is worth a look at every host.
const SWEEP: SignedDuration = SignedDuration::from_hours(1);

/// How many hosts all rosters of a server remember together.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn take(&self) -> bool {
        let more = |used| (used < MAX_KNOWN).then_some(used + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}

/// The hosts of one group.
#[derive(Debug)]
pub struct Roster {
    hosts: HashMap<Box<str>, Host>,
    labels: BTreeSet<Arc<str>>,
    /// When a host of each zone was refused last.
    zones: BTreeMap<Arc<str>, i64>,
    budget: Budget,
    started: Timestamp,
    swept: Timestamp,
}

// Seconds as numbers: there are many of these.
#[derive(Debug)]
struct Host {
    last: i64,
    /// 0 when it does not wait.
    waiting_since: i64,
    version: Option<Arc<str>>,
    zone: Option<Arc<str>>,
}

/// A host that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingHost {
    /// The host.
    pub id: HostId,
    /// Since when it asks in vain.
    pub since: Timestamp,
    /// Where it is.
    pub zone: Option<String>,
}

impl Roster {
    /// An empty one.
    pub fn new(budget: Budget, now: Timestamp) -> Self {
        Self {
            hosts: HashMap::new(),
            labels: BTreeSet::new(),
            zones: BTreeMap::new(),
            budget,
            started: now,
            swept: now,
        }
    }

    /// Notes that `id` asked and what it told; what it does not tell stays as it was.
    pub fn met(&mut self, id: &HostId, report: &Report, now: Timestamp) {
        if now.duration_since(self.swept) >= SWEEP {
            self.sweep(now);
        }
        let version = self.label(report.version.as_deref());
        let zone = self.label(report.zone.as_deref());
        if !self.hosts.contains_key(id.as_str()) {
            if !self.budget.take() {
                return;
            }
            let host = Host {
                last: 0,
                waiting_since: 0,
                version: None,
                zone: None,
            };
            self.hosts.insert(id.as_str().into(), host);
        }
        if let Some(host) = self.hosts.get_mut(id.as_str()) {
            host.last = now.as_second();
            host.version = version.or(host.version.take());
            host.zone = zone.or(host.zone.take());
        }
    }

    /// Notes whether `id` was refused.
    pub fn answered(&mut self, id: &HostId, refused: bool, now: Timestamp) {
        let Some(host) = self.hosts.get_mut(id.as_str()) else {
            return;
        };
        if !refused {
            host.waiting_since = 0;
            return;
        }
        if host.waiting_since == 0 {
            host.waiting_since = now.as_second();
        }
        if let Some(zone) = &host.zone {
            self.zones.insert(Arc::clone(zone), now.as_second());
        }
    }

    /// What the rules need to know.
    pub fn fleet(&self, now: Timestamp) -> Fleet {
        let fresh = now.as_second() - WAITS.as_secs();
        Fleet {
            known: u32::try_from(self.hosts.len()).unwrap_or(u32::MAX),
            complete: now.duration_since(self.started) >= FORGOTTEN,
            waiting_zones: self
                .zones
                .iter()
                .filter(|(_, last)| **last >= fresh)
                .map(|(zone, _)| zone.to_string())
                .collect(),
        }
    }

    /// Where `id` is, as it said last.
    pub fn zone(&self, id: &HostId) -> Option<String> {
        let host = self.hosts.get(id.as_str())?;
        host.zone.as_ref().map(ToString::to_string)
    }

    /// How many hosts wait, and those that have waited longest, at most `limit`.
    pub fn waiting(&self, limit: usize, now: Timestamp) -> (usize, Vec<WaitingHost>) {
        let fresh = now.as_second() - WAITS.as_secs();
        let mut all: Vec<_> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.waiting_since != 0 && host.last >= fresh)
            .map(|(id, host)| (host.waiting_since, id, host))
            .collect();
        let count = all.len();
        if count > limit {
            all.select_nth_unstable_by_key(limit, |(since, id, _)| (*since, *id));
            all.truncate(limit);
        }
        all.sort_unstable_by_key(|(since, id, _)| (*since, *id));
        let hosts = all.into_iter().filter_map(|(since, id, host)| {
            Some(WaitingHost {
                id: id.parse().ok()?,
                since: Timestamp::from_second(since).ok()?,
                zone: host.zone.as_ref().map(ToString::to_string),
            })
        });
        (count, hosts.collect())
    }

    /// How many hosts run each version; `None` is those that did not say.
    pub fn versions(&self) -> BTreeMap<Option<String>, usize> {
        let mut counts = BTreeMap::<Option<&Arc<str>>, usize>::new();
        for host in self.hosts.values() {
            *counts.entry(host.version.as_ref()).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|(version, count)| (version.map(ToString::to_string), count))
            .collect()
    }

    /// One shared text for each version and zone.
    fn label(&mut self, text: Option<&str>) -> Option<Arc<str>> {
        let text = text?;
        if let Some(label) = self.labels.get(text) {
            return Some(Arc::clone(label));
        }
        if self.labels.len() >= MAX_LABELS {
            return None;
        }
        let label: Arc<str> = text.into();
        self.labels.insert(Arc::clone(&label));
        Some(label)
    }

    fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        let oldest = now.as_second() - FORGOTTEN.as_secs();
        let before = self.hosts.len();
        self.hosts.retain(|_, host| host.last >= oldest);
        self.budget.give_back(before - self.hosts.len());
        let fresh = now.as_second() - WAITS.as_secs();
        self.zones.retain(|_, last| *last >= fresh);
        // Used by nobody else: no host has it any more.
        self.labels.retain(|label| Arc::strong_count(label) > 1);
    }
}

impl Drop for Roster {
    fn drop(&mut self) {
        self.budget.give_back(self.hosts.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> HostId {
        format!("host-{number}").parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn of(version: &str, zone: &str) -> Report {
        Report {
            version: Some(version.to_owned()),
            zone: Some(zone.to_owned()),
            ..Report::default()
        }
    }

    #[test]
    fn hosts_are_counted_once_by_their_latest_version_and_forgotten_after_a_week() {
        let budget = Budget::default();
        let mut roster = Roster::new(budget.clone(), at(0));
        roster.met(&id(1), &of("1", "a"), at(1));
        roster.met(&id(1), &of("2", "a"), at(2));
        // A request that says nothing takes nothing back.
        roster.met(&id(1), &Report::default(), at(3));
        roster.met(&id(2), &Report::default(), at(3));
        assert_eq!(roster.versions(), [(None, 1), (Some("2".to_owned()), 1)].into());
        assert_eq!(roster.zone(&id(1)).as_deref(), Some("a"));
        assert!(!roster.fleet(at(4)).complete);
        let later = 8 * 24 * 3600;
        roster.met(&id(3), &Report::default(), at(later));
        assert_eq!(
            roster.fleet(at(later)),
            Fleet {
                known: 1,
                complete: true,
                waiting_zones: Vec::new()
            }
        );
        assert_eq!(roster.labels.len(), 0);
        drop(roster);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_host_waits_from_its_first_refusal_until_it_is_granted_or_stops_asking() {
        let mut roster = Roster::new(Budget::default(), at(0));
        for (number, second) in [(1, 30), (2, 10), (1, 40)] {
            roster.met(&id(number), &of("1", "a"), at(second));
            roster.answered(&id(number), true, at(second));
        }
        let (count, hosts) = roster.waiting(1, at(50));
        assert_eq!(count, 2);
        assert_eq!(
            hosts,
            [WaitingHost {
                id: id(2),
                since: at(10),
                zone: Some("a".to_owned())
            }]
        );
        assert_eq!(roster.fleet(at(50)).waiting_zones, ["a"]);
        roster.answered(&id(2), false, at(51));
        assert_eq!(roster.waiting(9, at(52)).1[0].id, id(1));
        assert_eq!(roster.waiting(9, at(40 + 601)).0, 0);
        assert!(roster.fleet(at(40 + 601)).waiting_zones.is_empty());
    }

    #[test]
    fn labels_and_hosts_are_bounded() {
        let mut roster = Roster::new(Budget(Arc::new(AtomicUsize::new(MAX_KNOWN - 300))), at(0));
        for number in 0..400 {
            roster.met(&id(number), &of(&number.to_string(), "a"), at(1));
        }
        assert_eq!(roster.fleet(at(1)).known, 300);
        assert_eq!(roster.labels.len(), MAX_LABELS);
    }
}
