//! `twinhull-lock history`.

use clap::Args;

use super::client::Server;
use super::output::{json, print};
use super::{CommandError, table};
use crate::history::Event;
use crate::names::GroupName;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinhull-lock history --limit 20
  twinhull-lock history --group default --json | jq -r '.[] | select(.what == \"forced-release\")'")]
pub(super) struct History {
    #[command(flatten)]
    server: Server,
    /// Only this group
    #[arg(long)]
    group: Option<GroupName>,
    /// How many changes at most, newest first; 1 to 10000
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print JSON: an array of changes
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        // The characters of a group's name need no escaping.
        let group = self.group.map_or_else(String::new, |group| format!("&group={group}"));
        let path = format!("v1/history?limit={}{group}", self.limit);
        let events: Vec<Event> = self.server.read(&path).await?;
        print(if self.json {
            json(&events)?
        } else {
            table::history(&events)
        })
    }
}
