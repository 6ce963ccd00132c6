//! `twinhull-updater run`

use super::Exit;
use super::by_hand::load_config;
use crate::agent::{Agent, Engine};
use crate::machine::Rules;
use crate::paths::Paths;
use crate::{daemon, runtime};

pub(super) fn run(paths: Paths) -> anyhow::Result<Exit> {
    let Some(config) = load_config(&paths) else {
        return Ok(Exit::Configuration);
    };
    let engine = Engine::open(paths.state_file(), Rules::of(&config))?;
    let runtime = runtime::new()?;
    let agent = Agent::new(paths, config, runtime.handle().clone())?;
    tracing::info!("running {} {}", agent.running.product, agent.running.version);
    let ended = runtime.block_on(daemon::run(agent, engine));
    // An install that is under way is cut off: it goes on at the next start.
    runtime.shutdown_background();
    ended?;
    Ok(Exit::Done)
}
