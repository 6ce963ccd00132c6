//! The interface on a real socket, with a service of the test's own behind it.

use std::future::IntoFuture;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tokio::sync::{mpsc, watch};

use super::*;
use crate::machine::{Known, Live, Problem};
use crate::runtime;

struct Fixture {
    _folder: tempfile::TempDir,
    paths: Paths,
    told: watch::Sender<Told>,
    asked: mpsc::Receiver<Asked>,
    _metrics: watch::Sender<Metrics>,
}

fn told(code: &str) -> Told {
    let mut live = Live::default();
    live.wait(jiff::Timestamp::UNIX_EPOCH, Problem::new(code, "because"));
    Told::new(&Known::default(), &live, None)
}

/// Must be called within the runtime.
fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths::below(folder.path());
    let (commands, asked) = mpsc::channel(1);
    let (told, metrics) = (
        watch::Sender::new(told("window")),
        watch::Sender::new(Metrics::default()),
    );
    let service = Service {
        paths: paths.clone(),
        commands,
        told: told.subscribe(),
        metrics: metrics.subscribe(),
    };
    let socket = bind(&paths.control_socket(), None).unwrap();
    tokio::spawn(axum::serve(socket, router(service)).into_future());
    Fixture {
        _folder: folder,
        paths,
        told,
        asked,
        _metrics: metrics,
    }
}

#[test]
fn socket_is_for_its_owner_and_group_and_replaces_a_left_over() {
    runtime::new().unwrap().block_on(async {
        let fixture = fixture();
        let path = fixture.paths.control_socket();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(bind(&path, None).unwrap());
        assert!(
            Client::connect(&fixture.paths).await.is_none(),
            "nobody listens any more"
        );
        let error = bind(&path, Some("no-such-group")).unwrap_err();
        assert!(matches!(error, SocketError::NoGroup(_)));
        // Only root may give a file to a group that it is not in.
        if nix::unistd::geteuid().is_root() {
            let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(1))
                .unwrap()
                .unwrap();
            let _socket = bind(&path, Some(&group.name)).unwrap();
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!((metadata.gid(), metadata.permissions().mode() & 0o777), (1, 0o660));
        }
    });
}

#[test]
fn command_goes_to_the_service_and_its_outcome_comes_back() {
    runtime::new().unwrap().block_on(async {
        let mut fixture = fixture();
        let client = Client::connect(&fixture.paths).await.unwrap();
        let answers = async {
            let asked = fixture.asked.recv().await.unwrap();
            assert_eq!(asked.command, Command::Update { retry: true });
            let outcome = Outcome::done("staged", Some("1.1.0".parse().unwrap()), "1.1.0 is installed");
            asked.reply.send(Reply::Outcome(outcome)).unwrap();
            let asked = fixture.asked.recv().await.unwrap();
            asked.reply.send(Reply::Busy("at work".to_owned())).unwrap();
        };
        let asks = async {
            let outcome = client.command(&Command::Update { retry: true }).await.unwrap();
            assert_eq!(
                (outcome.word.as_str(), outcome.version.unwrap().to_string()),
                ("staged", "1.1.0".to_owned())
            );
            let busy = client.command(&Command::Check {}).await.unwrap_err();
            assert!(matches!(busy, ClientError::Busy(_)), "{busy}");
        };
        tokio::join!(answers, asks);
    });
}

#[test]
fn what_is_no_command_is_refused_and_goes_nowhere() {
    runtime::new().unwrap().block_on(async {
        let mut fixture = fixture();
        crate::http::choose_cryptography();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let http = http.unix_socket(fixture.paths.control_socket()).build().unwrap();
        for (body, status) in [
            ("{}".to_owned(), 400),
            ("{\"command\": \"format\"}".to_owned(), 400),
            ("{\"command\": \"update\", \"force\": true}".to_owned(), 400),
            (
                format!("{{\"command\": \"hold\", \"reason\": \"{}\"}}", "x".repeat(5000)),
                413,
            ),
        ] {
            let answer = http.post("http://x/v1/command").body(body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
        }
        assert!(fixture.asked.try_recv().is_err());
        let metrics = http.get("http://x/metrics").send().await.unwrap();
        assert!(
            metrics
                .text()
                .await
                .unwrap()
                .contains("twinhull_updater_waiting{code=\"window\"} 1")
        );
    });
}

#[test]
fn events_are_streamed_as_they_come() {
    runtime::new().unwrap().block_on(async {
        let fixture = fixture();
        let client = Client::connect(&fixture.paths).await.unwrap();
        let (seen, mut codes) = mpsc::unbounded_channel();
        let stream = client.events(move |told| drop(seen.send(told.situation.code)));
        let changes = async {
            assert_eq!(codes.recv().await.unwrap().as_deref(), Some("window"), "first what is");
            fixture.told.send_replace(told("lock-held"));
            assert_eq!(codes.recv().await.unwrap().as_deref(), Some("lock-held"));
        };
        tokio::select! {
            () = changes => {}
            ended = stream => panic!("{ended:?}"),
        }
    });
}
