//! What `twinhull repo`, `channel` and `rollout` print.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;
use twinhull_rollout::{Load, Plan, simulate};
use twinhull_trust::Setup;

use crate::cli::{ChannelArgs, ChannelCommand, InitArgs, RepoArgs, RepoCommand, RolloutCommand, RotateArgs, SetArgs};
use crate::error::{Doing, Error, Result};
use crate::repository::{self, keys};
use crate::{channel, rollout};

/// Bytes and requests of a look at a repository that has nothing new, HTTP both ways, as `cargo xtask bench trust` measures them.
const IDLE_BYTES: u32 = 742;
const IDLE_REQUESTS: u32 = 2;

/// Requests of an update beyond those of a look: three metadata files, two documents, two payloads.
const UPDATE_REQUESTS: u32 = 7;

/// `twinhull repo`
///
/// # Errors
/// Those of what it does.
pub fn repo(command: RepoCommand) -> Result<ExitCode> {
    match command {
        RepoCommand::Init(InitArgs {
            at: RepoArgs { repo, keys },
            root,
            targets,
            releases,
        }) => {
            let mut setup = Setup::default();
            for (terms, (threshold, count)) in [
                (&mut setup.root, root),
                (&mut setup.targets, targets),
                (&mut setup.releases, releases),
            ] {
                (terms.threshold, terms.keys) = (threshold, count);
            }
            let root = repository::init_with(&repo, &keys, &setup)?;
            println!(
                "hosts are to trust {}: build images with --trust-root {}",
                root.display(),
                root.display()
            );
            println!(
                "keep root, targets and releases of {} offline once you publish for others",
                keys.display()
            );
        }
        RepoCommand::Status { repo, json } => {
            let status = repository::status(&repo)?;
            show(json, &status, || status.to_text(Timestamp::now()))?;
        }
        RepoCommand::NewKey { keys, role, token } => {
            let (path, id) = keys::new_key(&keys, &role, token.as_deref())?;
            println!("{} is key {id} for {role}", path.display());
        }
        RepoCommand::Rotate(RotateArgs {
            at,
            role,
            add,
            remove,
            threshold,
        }) => {
            let outcome = keys::rotate(&at.repo, &keys::load(&at.keys)?, &role, &add, remove, threshold)?;
            match outcome {
                keys::Outcome::Published => println!("{role} has its new keys"),
                keys::Outcome::Unchanged => println!("nothing had changed"),
                keys::Outcome::Waiting(pending) => print!("{}", keys::to_text(&pending)),
            }
        }
        RepoCommand::Sign { keys, repo, files } => {
            let files = match repo {
                Some(repo) => keys::some(keys::pending_in(&repo)?)?,
                None => files,
            };
            for keys::Signed {
                role,
                added,
                fingerprint,
            } in keys::sign(&files, &keys::load(&keys)?)?
            {
                println!("{role}: {added} signatures added\n  fingerprint {fingerprint}");
            }
        }
        RepoCommand::Verify { repo, json } => {
            let waiting = keys::verify(&repo)?;
            show(json, &waiting.roles, || match waiting.to_text() {
                nothing if nothing.is_empty() => "every signature is right, and nothing waits for one\n".to_owned(),
                text => text,
            })?;
            if waiting.roles.iter().any(|one| one.missing() > 0) {
                return Ok(ExitCode::FAILURE);
            }
        }
        RepoCommand::Refresh(RepoArgs { repo, keys }) => {
            let waiting = keys::refresh(&repo, &keys::load(&keys)?)?;
            println!("channels, snapshot and timestamp are signed anew");
            print!("{}", waiting.to_text());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `twinhull channel`
///
/// # Errors
/// Those of what it does.
pub fn channel(command: ChannelCommand) -> Result<()> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let document = match command {
        ChannelCommand::Set(SetArgs {
            at,
            version,
            keys,
            arch,
            rollout,
            stone,
        }) => {
            let offer = channel::Offer {
                version,
                archs: arch,
                rollout,
                stepping_stones: stone,
            };
            channel::set(&at.into(), &keys::load(&keys)?, &offer, now)?
        }
        ChannelCommand::Halt { at, keys, reason } => channel::halt(&at.into(), &keys::load(&keys)?, reason, now)?,
        ChannelCommand::Resume { at, keys } => channel::resume(&at.into(), &keys::load(&keys)?, now)?,
        ChannelCommand::Show { at, json } => {
            let document = channel::show(&at.into())?;
            return show(json, &document, || channel::to_text(&document));
        }
    };
    print!("{}", channel::to_text(&document));
    Ok(())
}

/// `twinhull rollout`
///
/// # Errors
/// Those of what it does.
pub fn rollout(command: RolloutCommand) -> Result<()> {
    match command {
        RolloutCommand::Plan {
            rollout,
            hosts,
            svg,
            json,
        } => {
            let plan = Plan::new(&rollout::named(&rollout)?, hosts);
            if let Some(path) = svg {
                std::fs::write(&path, plan.to_svg()).doing("write", &path)?;
            }
            show(json, &plan, || plan.to_text())
        }
        RolloutCommand::Simulate(args) => {
            let rollout = rollout::named(&args.rollout)?;
            let load = Load {
                hosts: args.hosts,
                poll_seconds: args.poll,
                poll_bytes: IDLE_BYTES,
                poll_requests: IDLE_REQUESTS,
                update_bytes: args.update,
                update_requests: UPDATE_REQUESTS,
                host_rate: args.rate,
                seed: args.seed,
            };
            let (new, old) = ("2".parse(), "1".parse());
            let (Ok(new), Ok(old)) = (new, old) else {
                return Err(Error::Usage("no version to simulate".to_owned()));
            };
            let made = simulate(&rollout, &new, &old, &load);
            show(args.json, &made, || rollout::to_text(&rollout, &load, &made))
        }
    }
}

fn show(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    if json {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Content(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", text());
    }
    Ok(())
}

impl From<ChannelArgs> for channel::Place {
    fn from(args: ChannelArgs) -> Self {
        Self {
            repository: args.repo,
            product: args.product,
            channel: args.channel,
        }
    }
}
