//! The hosts, and what befalls them, their servers and the members.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::Client;
use jiff::SignedDuration;
use twinhull_lock::semaphore::Outcome;

use crate::cluster::{Cluster, MEMBERS};
use crate::invariants::{FLEET, Truth, Verdict, direct, revision};
use crate::relay::Mode;
use crate::servers::{Question, Server, Which};

/// How long the hosts may take to finish once everything is healed.
const PATIENCE: Duration = Duration::from_mins(3);

/// What all hosts share.
struct World {
    servers: [Server; 2],
    truth: Truth,
    client: Client,
    over: AtomicBool,
    unfinished: AtomicUsize,
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, stream: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    async fn pause(&mut self, from: u64, to: u64) {
        tokio::time::sleep(Duration::from_millis(from + self.below(to - from))).await;
    }
}

/// What kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sound,
    /// Goes down once and does not return.
    Lost,
    /// Has the same id as another one: they free each other's slot.
    Double,
}

pub(crate) async fn run(seed: u64, which: Which, faults: Duration, mut cluster: Cluster) -> Verdict {
    let hour = SignedDuration::from_hours(1);
    let servers = [
        Server::start(which, hour).await,
        Server::start(which, SignedDuration::ZERO).await,
    ];
    let client = direct().await;
    revision(&client).await;
    let world = Arc::new(World {
        servers,
        truth: Truth::default(),
        client,
        over: AtomicBool::new(false),
        unfinished: AtomicUsize::new(0),
    });
    let mut lost = Vec::new();
    for (group, slots, hosts) in FLEET {
        for number in 0..hosts {
            // Fewer are lost than there are slots, so that the others can go on.
            let kind = match number {
                0 if slots > 1 => Kind::Lost,
                1 | 2 if slots > 2 => Kind::Double,
                _ => Kind::Sound,
            };
            let id = if kind == Kind::Double {
                "double".to_owned()
            } else {
                format!("{group}-{number}")
            };
            if kind == Kind::Lost {
                lost.push((group, id.clone()));
            } else {
                world.unfinished.fetch_add(1, Ordering::Relaxed);
            }
            let dice = Dice::new(seed, number as u64 + u64::from(slots) * 1000);
            tokio::spawn(live(Arc::clone(&world), group, id, kind, dice));
        }
        tokio::spawn(meddle(
            Arc::clone(&world),
            group,
            Dice::new(seed, u64::from(slots) + 100_000),
        ));
    }

    let mut dice = Dice::new(seed, 999_999);
    let end = Instant::now() + faults;
    while Instant::now() < end && (which == Which::Real || !world.truth.broken()) {
        fault(&world, &mut cluster, which, &mut dice).await;
    }
    cluster.heal();
    world
        .servers
        .iter()
        .for_each(|server| (0..MEMBERS).for_each(|member| server.relay(member, Mode::Pass)));
    world.over.store(true, Ordering::Relaxed);
    // A control has shown what it is for, or never will.
    let end = Instant::now() + if which == Which::Real { PATIENCE } else { Duration::ZERO };
    for (group, id) in lost {
        // A person has seen that it is down for good.
        world.truth.is_gone(group, &id);
        while Instant::now() < end && world.servers[0].ask(Question::Force, group, id.clone()).await.is_none() {
            dice.pause(50, 200).await;
        }
    }
    while Instant::now() < end && world.unfinished.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let verdict = Box::pin(world.truth.judge(world.unfinished.load(Ordering::Relaxed))).await;
    drop(cluster);
    verdict
}

/// One thing goes wrong, for a while.
async fn fault(world: &World, cluster: &mut Cluster, which: Which, dice: &mut Dice) {
    let member = usize::try_from(dice.below(MEMBERS as u64)).unwrap();
    let server = &world.servers[usize::try_from(dice.below(2)).unwrap()];
    // What a stale read needs is a member that clients reach and the others do not.
    let what = if which == Which::Stale { 2 } else { dice.below(6) };
    match what {
        0 => {
            cluster.signal(member, "STOP");
            dice.pause(300, 3000).await;
            cluster.signal(member, "CONT");
        }
        1 => {
            cluster.kill(member);
            dice.pause(100, 1500).await;
            cluster.start(member);
        }
        2 => {
            cluster.isolate(member, true);
            dice.pause(1000, 4000).await;
            cluster.isolate(member, false);
        }
        3 => {
            server.relay(member, Mode::Cut);
            dice.pause(300, 2000).await;
            server.relay(member, Mode::Pass);
        }
        4 => {
            (0..MEMBERS).for_each(|member| server.relay(member, Mode::DropAnswers));
            dice.pause(100, 1000).await;
            (0..MEMBERS).for_each(|member| server.relay(member, Mode::Pass));
        }
        _ => server.restart(),
    }
    dice.pause(100, 800).await;
}

/// Goes down and comes up until everything is healed, and then once more.
async fn live(world: Arc<World>, group: &'static str, id: String, kind: Kind, mut dice: Dice) {
    loop {
        let last = world.over.load(Ordering::Relaxed);
        until_yes(&world, Question::Take, group, &id, &mut dice).await;
        match kind {
            Kind::Lost => return world.truth.goes_down(group, &id),
            Kind::Double => dice.pause(50, 400).await,
            Kind::Sound => {
                world.truth.goes_down(group, &id);
                let from = revision(&world.client).await;
                dice.pause(50, 400).await;
                let to = revision(&world.client).await;
                world.truth.comes_up(group, &id, from, to);
            }
        }
        until_yes(&world, Question::Release, group, &id, &mut dice).await;
        if last {
            break;
        }
    }
    world.unfinished.fetch_sub(1, Ordering::Relaxed);
}

async fn until_yes(world: &World, question: Question, group: &'static str, id: &str, dice: &mut Dice) {
    loop {
        let server = &world.servers[usize::try_from(dice.below(2)).unwrap()];
        match server.ask(question.clone(), group, id.to_owned()).await {
            None | Some(Outcome::Refused(_)) => dice.pause(50, 300).await,
            Some(_) => return,
        }
    }
}

/// Gives back what it never held.
async fn meddle(world: Arc<World>, group: &'static str, mut dice: Dice) {
    while !world.over.load(Ordering::Relaxed) {
        let server = &world.servers[usize::try_from(dice.below(2)).unwrap()];
        server
            .ask(Question::Release, group, format!("stranger-{}", dice.below(5)))
            .await;
        dice.pause(100, 400).await;
    }
}
