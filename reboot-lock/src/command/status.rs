//! `twinhull-lock status`.

use clap::Args;

use super::client::Server;
use super::output::{json, print};
use super::{CommandError, table};
use crate::status::Status;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinhull-lock status
  twinhull-lock status --url http://127.0.0.1:8480/ --json")]
pub(super) struct StatusCommand {
    #[command(flatten)]
    server: Server,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let status: Status = self.server.read("v1/status").await?;
        print(if self.json {
            json(&status)?
        } else {
            table::render(&status)
        })
    }
}
