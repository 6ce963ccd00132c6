//! `twinhull-lock release`.

use clap::Args;

use super::CommandError;
use super::client::Server;
use super::operator::operator;
use crate::names::{GroupName, HostId};
use crate::server::ForcedRelease;

#[derive(Debug, Args)]
#[command(after_help = "\
Make sure that the host is down for good or well and up: the next one may reboot at once.

Example:
  twinhull-lock release --group default --id 3f2a… --reason 'mainboard died, replaced'")]
pub(super) struct Release {
    #[command(flatten)]
    server: Server,
    /// Group of the host
    #[arg(long)]
    group: GroupName,
    /// Id of the host, as `status` shows it
    #[arg(long)]
    id: HostId,
    /// Why; goes into the history
    #[arg(long)]
    reason: String,
}

impl Release {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let asked = ForcedRelease {
            group: self.group,
            id: self.id,
            reason: self.reason,
            operator: operator(),
        };
        self.server.change("release", &asked).await
    }
}
