//! `twinhull-lock pause` and `resume`.

use clap::Args;

use super::CommandError;
use super::client::Server;
use super::operator::operator;
use crate::names::GroupName;
use crate::server::Intervention;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinhull-lock pause --group default --reason 'release freeze until Monday'
  twinhull-lock resume --group default --reason 'release 836.0.1 mends it'")]
pub(super) struct Intervene {
    #[command(flatten)]
    server: Server,
    /// The group
    #[arg(long)]
    group: GroupName,
    /// Why; goes into the history
    #[arg(long)]
    reason: String,
}

impl Intervene {
    /// `action` is the last part of the endpoint.
    pub(super) async fn run(self, action: &str) -> Result<(), CommandError> {
        let asked = Intervention {
            group: self.group,
            reason: self.reason,
            operator: operator(),
        };
        self.server.change(action, &asked).await
    }
}
