//! `twinhull-lock holders`.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::client::Server;
use super::output::{json, print};
use super::{CommandError, table};
use crate::names::{GroupName, HostId};
use crate::status::Status;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  twinhull-lock holders --group default --json | jq -r '.[].id'")]
pub(super) struct Holders {
    #[command(flatten)]
    server: Server,
    /// Only this group
    #[arg(long)]
    group: Option<GroupName>,
    /// Print JSON: an array of group, id, since, seconds
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    group: &'a GroupName,
    id: &'a HostId,
    since: Timestamp,
    seconds: i64,
}

impl Holders {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let mut status: Status = self.server.read("v1/status").await?;
        if let Some(wanted) = &self.group {
            status.groups.retain(|group| group.name == *wanted);
            if status.groups.is_empty() {
                return Err(CommandError::Refused(format!("there is no group {wanted}")));
            }
        }
        if !self.json {
            return print(table::holders(&status));
        }
        let mut rows = Vec::new();
        for group in &status.groups {
            rows.extend(group.holders.iter().map(|holder| Row {
                group: &group.name,
                id: &holder.id,
                since: holder.since,
                seconds: status.now.as_second() - holder.since.as_second(),
            }));
        }
        print(json(&rows)?)
    }
}
