//! `twinhull-updater run`

use std::future::IntoFuture;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Exit;
use super::by_hand::load_config;
use crate::agent::{Agent, Busy, Engine, OnlyOne};
use crate::control::{Metrics, Service, bind, metrics_only, router};
use crate::daemon::{self, Worker};
use crate::host::host_id;
use crate::machine::Rules;
use crate::paths::Paths;
use crate::runtime;
use crate::status::Teller;

pub(super) fn run(paths: &Paths) -> anyhow::Result<Exit> {
    got_here(paths);
    let Some(config) = load_config(paths) else {
        return Ok(Exit::Configuration);
    };
    let host = host_id(paths)
        .inspect_err(|error| tracing::warn!("{error}: this host comes first in every window"))
        .ok();
    let mut rules = Rules::of(&config);
    if let Some(id) = &host {
        rules = rules.for_host(id);
    }
    let purpose = "the update service";
    let _only_service = match OnlyOne::service(paths, purpose) {
        Ok(only_service) => only_service,
        Err(busy @ Busy::Other(_)) => {
            tracing::error!("{busy}");
            return Ok(Exit::Busy);
        }
        Err(error) => return Err(error.into()),
    };
    let engine = Engine::open(paths.state_file(), rules)?;
    let runtime = runtime::new()?;
    let agent = Agent::new(paths.clone(), config, runtime.handle().clone())?;
    tracing::info!("running {} {}", agent.running.product, agent.running.version);

    let channel = agent.config().updates.as_ref().map_or("", |updates| &updates.channel);
    let teller = Teller::new(paths.status_file(), Metrics::new(&agent.running, channel));
    let (commands, asked) = mpsc::channel(1);
    let service = Service {
        paths: paths.clone(),
        commands,
        told: teller.subscribe(),
        metrics: teller.metrics(),
    };
    let ended = runtime.block_on(async {
        let group = agent.config().control_group.as_deref();
        let socket = bind(&paths.control_socket(), group)?;
        tokio::spawn(axum::serve(socket, router(service.clone())).into_future());
        if let Some(address) = agent.config().metrics {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on metrics.listen = {address}"))?;
            tokio::spawn(axum::serve(listener, metrics_only(service)).into_future());
        }
        let worker = Worker {
            agent,
            engine,
            teller,
            host,
            next_scrub: daemon::FIRST_SCRUB,
        };
        anyhow::Ok(daemon::run(worker, asked).await)
    });
    // An install that is under way is cut off: it goes on at the next start.
    runtime.shutdown_background();
    ended??;
    Ok(Exit::Done)
}

/// Tells the initramfs that this boot got as far as the agent: whatever else is wrong, an update can mend it.
fn got_here(paths: &Paths) {
    match std::fs::remove_file(paths.unfinished_boots()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!(
            "cannot remove {}: {error}; after some more boots the other slot will be started once",
            paths.unfinished_boots().display()
        ),
        _ => {}
    }
}
