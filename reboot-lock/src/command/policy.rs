//! `twinhull-lock policy`.

use std::path::PathBuf;

use clap::Args;

use super::CommandError;
use super::client::Server;
use super::operator::operator;
use super::output::{json, print};
use crate::config::ConfigError;
use crate::names::GroupName;
use crate::policy::Policy;
use crate::server::PolicyChange;
use crate::status::Status;

#[derive(Debug, Args)]
#[command(after_help = "\
A policy that is set here holds until the configuration file of the server says something new about the group.
The keys are those of [groups.NAME] in the file; docs/reboot-lock.md lists them.

Examples:
  twinhull-lock policy --group default
  twinhull-lock policy --group default --set policy.toml --reason 'two at a time over the weekend'")]
pub(super) struct PolicyCommand {
    #[command(flatten)]
    server: Server,
    /// The group; all without it
    #[arg(long)]
    group: Option<GroupName>,
    /// Set the policy to what this TOML file says
    #[arg(long, value_name = "FILE", requires = "reason", requires = "group")]
    set: Option<PathBuf>,
    /// Why; goes into the history
    #[arg(long, requires = "set")]
    reason: Option<String>,
    /// Print JSON: an object of policies by group
    #[arg(long, conflicts_with = "set")]
    json: bool,
}

impl PolicyCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        if let (Some(file), Some(group), Some(reason)) = (&self.set, &self.group, self.reason) {
            let policy: Policy = twinhull_config::read(file).map_err(ConfigError::from)?;
            let asked = PolicyChange {
                group: group.clone(),
                policy,
                reason,
                operator: operator(),
            };
            return self.server.change("policy", &asked).await;
        }
        let mut status: Status = self.server.read("v1/status").await?;
        if let Some(wanted) = &self.group {
            status.groups.retain(|group| group.name == *wanted);
            if status.groups.is_empty() {
                return Err(CommandError::Refused(format!("there is no group {wanted}")));
            }
        }
        let policies = status.groups.into_iter().map(|group| (group.name, group.policy));
        if self.json {
            let policies: std::collections::BTreeMap<_, _> = policies.collect();
            return print(json(&policies)?);
        }
        print(
            policies
                .map(|(group, policy)| format!("{group}: {policy}\n"))
                .collect::<Vec<_>>()
                .concat(),
        )
    }
}
