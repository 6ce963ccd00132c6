//! `twinhull-updater switch-channel`: writes the drop-in that sets the channel.

use std::fs;

use anyhow::Context;

use super::by_hand::{load_config, nudge_service};
use super::{Exit, SwitchArgs};
use crate::command::Outcome;
use crate::config::{Config, channel};
use crate::machine::Problem;
use crate::paths::Paths;

/// The drop-in. Only a file that sorts after it, or that is in `/run`, can overrule it.
const FILE: &str = "90-channel.toml";

pub(super) fn run(paths: &Paths, args: &SwitchArgs) -> anyhow::Result<Exit> {
    let refused = |code, text: String| args.output.outcome(&Outcome::not(None, Problem::new(code, text)));
    let name = match channel(&args.channel) {
        Ok(name) => name,
        Err(problem) => return refused("bad-channel", format!("`{}` is no channel: {problem}", args.channel)),
    };
    if load_config(paths).is_none() {
        return Ok(Exit::Configuration);
    }
    let folder = paths.host_config_folder();
    let file = folder.join(FILE);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let before = match fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let text = format!("# Written by `twinhull-updater switch-channel`.\n[updates]\nchannel = \"{name}\"\n");
    twinhull_durable::replace(&file, text.as_bytes(), 0o644)?;
    let config = Config::load(paths);
    let counts = |config: &Config| config.updates.as_ref().map(|updates| updates.channel.clone());
    match config.as_ref().map(counts) {
        Ok(Some(found)) if found == name => {}
        found => {
            // It is as it was, or not at all.
            match before {
                Some(bytes) => twinhull_durable::replace(&file, &bytes, 0o644)?,
                None => twinhull_durable::remove(&file)?,
            }
            return match found {
                Ok(None) => refused(
                    "no-repository",
                    "no repository is configured: there is no channel to follow".to_owned(),
                ),
                Ok(Some(found)) => {
                    let text = format!(
                        "another file sets updates.channel to \"{found}\": see `twinhull-updater config --show-origin`; nothing was changed"
                    );
                    refused("overruled", text)
                }
                Err(error) => Err(anyhow::anyhow!("{error}; nothing was changed")),
            };
        }
    }
    nudge_service();
    let text = format!("follows channel {name} from now on ({})", file.display());
    args.output.outcome(&Outcome::done("switched", None, text))
}
