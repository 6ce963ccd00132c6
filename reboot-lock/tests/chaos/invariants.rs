//! What must hold: while it runs, between the hosts; afterwards, at every revision of etcd.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::sync::Mutex;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, EventType, WatchOptions};
use twinhull_lock::groups::Policies;
use twinhull_lock::policy::Policy;
use twinhull_lock::semaphore::Semaphore;

use crate::cluster::{Cluster, MEMBERS};

/// What the servers' keys begin with.
pub(crate) const PREFIX: &str = "/chaos/";

/// What the records' keys begin with.
pub(crate) const GROUPS: &str = "/chaos/groups/";

/// The groups, their slots, and how many of the hosts.
pub(crate) const FLEET: [(&str, u32, usize); 3] = [("one", 1, 12), ("two", 2, 16), ("five", 5, 22)];

pub(crate) fn slots(group: &str) -> u32 {
    FLEET.iter().find(|(name, ..)| *name == group).unwrap().1
}

pub(crate) fn policies() -> Policies {
    let groups = FLEET.iter();
    groups
        .map(|(name, slots, _)| (name.parse().unwrap(), Policy::with_slots(*slots)))
        .collect()
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many times a host went down.
    pub(crate) grants: u64,
    /// How many states of the groups were looked at.
    pub(crate) revisions: usize,
    /// Promises that were broken.
    pub(crate) violations: Vec<String>,
    /// Hosts that had not done their work at the end.
    pub(crate) unfinished: usize,
}

/// A host was down from one revision of etcd to another.
#[derive(Debug)]
struct Down {
    group: &'static str,
    id: String,
    from: i64,
    to: i64,
}

/// What the hosts do to each other, beside any server.
#[derive(Default)]
pub(crate) struct Truth {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    down: BTreeMap<&'static str, BTreeSet<String>>,
    past: Vec<Down>,
    grants: u64,
    violations: Vec<String>,
}

impl Truth {
    /// A host goes down, having been told that it may.
    pub(crate) fn goes_down(&self, group: &'static str, id: &str) {
        let mut state = self.state.lock().unwrap();
        state.grants += 1;
        let down = state.down.entry(group).or_default();
        down.insert(id.to_owned());
        if down.len() > slots(group) as usize {
            let violation = format!("group {group}: down together: {down:?}");
            state.violations.push(violation);
        }
    }

    /// It is up again, and about to say so. It saw revision `from` after it was told, `to` just now.
    pub(crate) fn comes_up(&self, group: &'static str, id: &str, from: i64, to: i64) {
        let mut state = self.state.lock().unwrap();
        state.down.entry(group).or_default().remove(id);
        let id = id.to_owned();
        state.past.push(Down { group, id, from, to });
    }

    /// It will never go down again by itself, and not come up either.
    pub(crate) fn is_gone(&self, group: &'static str, id: &str) {
        let mut state = self.state.lock().unwrap();
        state.down.entry(group).or_default().remove(id);
    }

    pub(crate) fn broken(&self) -> bool {
        !self.state.lock().unwrap().violations.is_empty()
    }

    /// Replays every revision since the first.
    pub(crate) async fn judge(&self, unfinished: usize) -> Verdict {
        let replayed = Box::pin(replay()).await;
        let state = self.state.lock().unwrap();
        let mut violations = state.violations.clone();
        for (group, history) in &replayed {
            for (revision, holders) in history {
                if holders.len() > slots(group) as usize {
                    violations.push(format!("group {group} at revision {revision}: holders {holders:?}"));
                }
            }
        }
        for Down { group, id, from, to } in &state.past {
            let empty = BTreeMap::new();
            let history = replayed.get(*group).unwrap_or(&empty);
            // The state at `from` is the last one written until then.
            let at_first = history.range(..=from).next_back();
            let broken = at_first
                .into_iter()
                .chain(history.range((Excluded(from), Included(to))))
                .find(|(_, holders)| !holders.contains(id));
            if let Some((revision, holders)) = broken {
                violations.push(format!(
                    "group {group}: {id} was down from {from} to {to}; at {revision} the holders were {holders:?}"
                ));
            }
        }
        Verdict {
            grants: state.grants,
            revisions: replayed.values().map(BTreeMap::len).sum(),
            violations,
            unfinished,
        }
    }
}

/// A client that reaches the members without a relay.
pub(crate) async fn direct() -> Client {
    let endpoints: Vec<_> = (0..MEMBERS)
        .map(|member| format!("http://{}", Cluster::address(member)))
        .collect();
    let options = ConnectOptions::new()
        .with_timeout(Duration::from_secs(3))
        .with_connect_timeout(Duration::from_secs(2));
    Client::connect(endpoints, Some(options)).await.unwrap()
}

/// The revision of etcd, as soon as a majority says so.
pub(crate) async fn revision(client: &Client) -> i64 {
    loop {
        if let Ok(response) = client.kv_client().get(PREFIX, None).await {
            return response.header().unwrap().revision();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of each group, who held it from which revision on.
type History = BTreeMap<String, BTreeMap<i64, BTreeSet<String>>>;

/// How long a cluster that was just healed may take to answer.
const RECOVERY: Duration = Duration::from_mins(2);

/// The holders of each group at each revision that changed them.
///
/// The members have just been healed: one may still be starting or looking for its leader, so any answer may be an error, and
/// is asked for again.
async fn replay() -> History {
    let last = revision(&direct().await).await;
    let end = tokio::time::Instant::now() + RECOVERY;
    loop {
        match tokio::time::timeout_at(end, replay_until(last)).await {
            Ok(Ok(history)) => return history,
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(late) => panic!("etcd does not tell its history {RECOVERY:?} after it was healed: {late}"),
        }
    }
}

/// The history from the first revision to one behind `last`, which is written for this.
async fn replay_until(last: i64) -> Result<History, etcd_client::Error> {
    let end = format!("{GROUPS}~end");
    direct().await.kv_client().put(end.as_str(), "{}", None).await?;
    let mut all = History::new();
    let options = WatchOptions::new().with_prefix().with_start_revision(1);
    // Without a limit of time: the stream is one answer.
    let mut unlimited = Client::connect([format!("http://{}", Cluster::address(0))], None).await?;
    let mut stream = unlimited.watch(GROUPS, Some(options)).await?;
    while let Some(response) = stream.message().await? {
        for event in response.events() {
            let kv = event.kv().unwrap();
            let group = kv.key_str()?.strip_prefix(GROUPS).unwrap();
            if group == "~end" {
                if kv.mod_revision() > last {
                    return Ok(all);
                }
                continue;
            }
            let holders = match event.event_type() {
                EventType::Delete => BTreeSet::new(),
                EventType::Put => {
                    let record: Semaphore = serde_json::from_slice(kv.value()).unwrap();
                    record.holders.keys().map(ToString::to_string).collect()
                }
            };
            all.entry(group.to_owned())
                .or_default()
                .insert(kv.mod_revision(), holders);
        }
    }
    Err(etcd_client::Error::WatchError("the stream ended".to_owned()))
}
