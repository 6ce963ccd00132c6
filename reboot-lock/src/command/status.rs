//! `twinhull-lock status`.

use std::io::Write;

use clap::Args;
use reqwest::Method;

use super::CommandError;
use super::client::Server;
use super::table;
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
        let body = self.server.ask(Method::GET, "v1/status", None).await?;
        let status: Status = serde_json::from_slice(&body)
            .map_err(|error| CommandError::Server(format!("the server's status cannot be understood: {error}")))?;
        let text = if self.json {
            let json = serde_json::to_string_pretty(&status).map_err(std::io::Error::other);
            json.map_err(CommandError::system("write JSON"))? + "\n"
        } else {
            table::render(&status)
        };
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever reads only the first lines (`| head`) has what they wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(CommandError::system("print the status")),
        }
    }
}
