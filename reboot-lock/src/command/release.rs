//! `twinhull-lock release`.

use clap::Args;
use reqwest::Method;

use super::CommandError;
use super::client::Server;
use crate::names::{GroupName, HostId};
use crate::server::ForcedRelease;
use crate::wire::ReplyBody;

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
        let body = serde_json::to_vec(&asked)
            .map_err(std::io::Error::other)
            .map_err(CommandError::system("write JSON"))?;
        let answer = self.server.ask(Method::POST, "v1/admin/release", Some(body)).await?;
        let reply: ReplyBody = serde_json::from_slice(&answer)
            .map_err(|error| CommandError::Server(format!("the server's answer cannot be understood: {error}")))?;
        println!("{}", reply.value);
        Ok(())
    }
}

/// The login name of whoever types, behind `sudo` too. Only a help for readers of the history: the server notes the
/// credential beside it.
fn operator() -> Option<String> {
    let names = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    names
        .into_iter()
        .find(|name| !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control))
}
