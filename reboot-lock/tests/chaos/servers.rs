//! A lock server that can be killed between two instructions: everything between the socket and etcd, on a runtime of its
//! own that is torn down without a word. It has no state that could survive, so that this is what `kill -9` does to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use twinhull_lock::groups::{GroupError, Groups};
use twinhull_lock::names::{GroupName, HostId};
use twinhull_lock::semaphore::{Outcome, Report, Request};
use twinhull_lock::store::{Etcd, EtcdConfig, Store};

use crate::cluster::{Cluster, MEMBERS};
use crate::invariants::{PREFIX, policies};
use crate::relay::{Mode, Relay};
use crate::wrong::{Lease, Stale};

/// How long a host waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which store the servers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Real,
    Stale,
    Lease,
}

/// A server, and its ways to the members.
pub(crate) struct Server {
    which: Which,
    skew: SignedDuration,
    relays: Vec<Relay>,
    running: Mutex<Option<Running>>,
}

struct Running {
    handle: Handle,
    groups: Arc<Mutex<Option<Arc<Groups>>>>,
    _stop: oneshot::Sender<()>,
}

/// What a host asks.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Take,
    Release,
    Force,
}

impl Server {
    pub(crate) async fn start(which: Which, skew: SignedDuration) -> Self {
        let mut relays = Vec::new();
        for member in 0..MEMBERS {
            relays.push(Relay::to(Cluster::address(member)).await);
        }
        let server = Self {
            which,
            skew,
            relays,
            running: Mutex::new(None),
        };
        server.restart();
        server
    }

    /// Kills it in the middle of whatever it does, and starts another.
    pub(crate) fn restart(&self) {
        let (stop, stopped) = oneshot::channel();
        let groups = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&groups);
        let (which, skew) = (self.which, self.skew);
        let endpoints: Vec<_> = self.relays.iter().map(|relay| relay.url.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::spawn(begin(which, skew, endpoints, slot));
                let _ = stopped.await;
            });
            runtime.shutdown_background();
        });
        // The old one stops when its sender is dropped.
        *self.running.lock().unwrap() = Some(Running {
            handle,
            groups,
            _stop: stop,
        });
    }

    pub(crate) fn relay(&self, member: usize, mode: Mode) {
        self.relays[member].set(mode);
    }

    /// `None` when nobody knows what came of it.
    pub(crate) async fn ask(&self, question: Question, group: &'static str, id: String) -> Option<Outcome> {
        let (handle, groups) = {
            let running = self.running.lock().unwrap();
            let running = running.as_ref()?;
            let groups = running.groups.lock().unwrap().clone()?;
            (running.handle.clone(), groups)
        };
        let mut asked = handle.spawn(async move { put(&groups, question, group, &id).await });
        let answer = tokio::time::timeout(PATIENCE, &mut asked).await;
        if answer.is_err() {
            // The connection is closed, which ends the request in the server; what it has sent to etcd may still happen.
            asked.abort();
            let _ = asked.await;
        }
        answer.ok()?.ok()?.ok()
    }
}

async fn put(groups: &Groups, question: Question, group: &str, id: &str) -> Result<Outcome, GroupError> {
    let group: GroupName = group.parse().unwrap();
    let id: HostId = id.parse().unwrap();
    let by = "host".to_owned();
    match question {
        Question::Take => groups.take(&group, id, Report::default(), by).await,
        Question::Release => groups.release(&group, id, Report::default(), by).await,
        Question::Force => {
            let reason = "it will not return".to_owned();
            groups.change(&group, Request::ForceRelease { id, reason }, by).await
        }
    }
}

async fn begin(which: Which, skew: SignedDuration, endpoints: Vec<String>, slot: Arc<Mutex<Option<Arc<Groups>>>>) {
    let config = EtcdConfig {
        prefix: PREFIX.to_owned(),
        ..EtcdConfig::at(endpoints)
    };
    loop {
        if let Some(groups) = open(which, skew, &config).await {
            *slot.lock().unwrap() = Some(groups);
            // The queues live on this runtime.
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn open(which: Which, skew: SignedDuration, config: &EtcdConfig) -> Option<Arc<Groups>> {
    let right = Etcd::connect(config).await.ok()?;
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
    let client = Client::connect(&config.endpoints, Some(options)).await.ok()?;
    let store: Arc<dyn Store> = match which {
        Which::Real => Arc::new(right),
        Which::Stale => Arc::new(Stale { right, client }),
        Which::Lease => Arc::new(Lease { right, client }),
    };
    let clock = Arc::new(move || Timestamp::now() + skew);
    Groups::start(store, clock, &policies()).await.ok()
}
