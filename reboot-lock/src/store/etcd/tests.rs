//! Against real etcd members (package etcd-server), each started and ended by its test.

mod access;
mod member;

use std::process::Command;
use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::super::contract;
use super::*;
use crate::queue::{Ask, Clock, Queue};
use crate::semaphore::tests::any_request;
use crate::semaphore::{Fleet, Outcome, Report, Request, step};
use member::Member;

fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::UNIX_EPOCH)
}

fn ask(request: Request) -> Ask {
    Ask {
        request,
        fleet: Fleet::default(),
        by: "test".to_owned(),
    }
}

#[tokio::test]
async fn etcd_store_keeps_the_contract() {
    let member = Member::start();
    contract::check(member.store().await.as_ref()).await;
}

#[tokio::test]
async fn queue_over_etcd_does_what_the_pure_function_does() {
    let member = Member::start();
    let store = member.store().await;
    let mut runner = TestRunner::deterministic();
    let requests = proptest::collection::vec(any_request(), 300);
    let requests = requests.new_tree(&mut runner).unwrap().current();
    let group: GroupName = "g".parse().unwrap();
    // Two servers in turn: what one remembers of the record is out of date whenever the other wrote.
    let queues = [(); 2].map(|()| Queue::start(group.clone(), Arc::clone(&store) as Arc<dyn Store>, clock()));
    let mut model = Semaphore::default();
    for (number, request) in requests.into_iter().enumerate() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let (next, expected, _) = step(model, request.clone(), &Fleet::default(), "test", at);
        model = next;
        assert_eq!(queues[(number / 3) % 2].ask(ask(request)).await, Ok(expected));
    }
    assert_eq!(store.load(&group).await.unwrap().semaphore, model);
}

#[tokio::test]
async fn servers_that_race_grant_exactly_the_slots() {
    let member = Member::start();
    let group: GroupName = "g".parse().unwrap();
    let store = member.store().await;
    let other = member.store().await;
    let queues = [store, other].map(|store| Queue::start(group.clone(), store, clock()));
    let policy = crate::policy::Policy::with_slots(3);
    queues[0].ask(ask(Request::Configure(policy))).await.unwrap();
    let all: Vec<_> = (0..40)
        .map(|number| {
            let queue = queues[number % 2].clone();
            let id = format!("host-{number}").parse().unwrap();
            tokio::spawn(async move { queue.ask(ask(Request::Take(id, Report::default()))).await })
        })
        .collect();
    let mut granted = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(Outcome::Granted { .. }) => granted += 1,
            Ok(Outcome::Refused(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 3);
}

#[tokio::test]
async fn member_that_is_gone_is_unavailable_and_what_was_written_is_there_when_it_is_back() {
    let member = Member::start();
    let store = member.store().await;
    let group: GroupName = "g".parse().unwrap();
    let pid = member.pid().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    };
    let written = Semaphore::default();
    store.swap(&group, Revision(0), &written, &[]).await.unwrap();
    signal("STOP");
    let failed = store.swap(&group, Revision(0), &written, &[]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    signal("CONT");
    let end = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        match store.load(&group).await {
            Ok(stored) => break assert_eq!(stored.semaphore, written),
            Err(error) => assert!(std::time::Instant::now() < end, "{error}"),
        }
    }
}

#[tokio::test]
async fn endpoint_that_is_gone_is_not_asked() {
    let member = Member::start();
    drop(member.store().await);
    let mut config = member.config();
    // Nobody listens on the port that was free a moment ago.
    config.endpoints.insert(0, member::free_url("http"));
    let store = Etcd::connect(&config).await.unwrap();
    let group: GroupName = "g".parse().unwrap();
    let mut revision = store.load(&group).await.unwrap().revision;
    for _ in 0..20 {
        revision = store.swap(&group, revision, &Semaphore::default(), &[]).await.unwrap();
    }
}

#[tokio::test]
async fn history_is_cut_while_swaps_go_on() {
    let member = Member::start();
    let store = member.store().await;
    let mut client = store.members.client().kv_client();
    for number in 0..trimmer::HISTORY_KEPT + 150 {
        let key = format!("{}x/{number}", history_prefix(&store.prefix));
        client.put(key, "[]", None).await.unwrap();
    }
    let group: GroupName = "g".parse().unwrap();
    let mut revision = Revision(0);
    for _ in 0..TRIM_EVERY {
        revision = store.swap(&group, revision, &Semaphore::default(), &[]).await.unwrap();
    }
    let end = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let options = GetOptions::new().with_prefix().with_count_only();
        let left = store.members.get(history_prefix(&store.prefix), Some(options)).await;
        let left = usize::try_from(left.unwrap().count()).unwrap();
        if left == trimmer::HISTORY_KEPT {
            break;
        }
        assert!(left > trimmer::HISTORY_KEPT, "{left} are left");
        assert!(std::time::Instant::now() < end, "{left} are left");
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let parse = |text: &str| -> Result<(), String> {
        let config: EtcdConfig =
            twinhull_config::parse(text, std::path::Path::new("x")).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(parse("endpoints = [\"http://a:1\"]"), Ok(()));
    for (text, problem) in [
        ("endpoints = []", "endpoints is empty"),
        ("endpoints = [\"http://a:1\", \"https://b:1\"]", "both http and https"),
        ("endpoints = [\"https://a:1\"]", "need ca"),
        ("endpoints = [\"http://a:1\"]\nuser = \"u\"", "user and password_file"),
        ("endpoints = [\"http://a:1\"]\nkey = \"k\"", "certificate and key"),
        ("endpoints = [\"http://a:1\"]\nprefix = \"\"", "prefix must"),
        ("endpoints = [\"http://a:1\"]\nprefix = \"/lock\"", "prefix must"),
    ] {
        assert!(parse(text).unwrap_err().contains(problem), "{text}");
    }
}
