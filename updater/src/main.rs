//! `twinhull-updater`: see the library of the same name.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use twinhull_updater::cli::{Cli, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}", told(&error));
            Exit::Failed.into()
        }
    }
}

/// The error and its causes, without those that it already quotes.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// To the journal with its fields where there is one, else as plain lines on standard error.
fn start_logging(cli: &Cli) {
    let filter = std::env::var("TWINHULL_LOG")
        .ok()
        .and_then(|wanted| wanted.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(cli.log_level()));
    let by_systemd = cli.is_service() && std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = by_systemd.then(|| tracing_journald::layer().ok()).flatten();
    let registry = tracing_subscriber::registry().with(filter);
    if let Some(journal) = journal {
        let name = "twinhull-updater".to_owned();
        let journal = journal.with_field_prefix(None).with_syslog_identifier(name);
        registry.with(journal).init();
    } else {
        // The journal has its own clock, and a person at the keyboard has one on the wall.
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        registry
            .with(lines.without_time().with_target(false).with_ansi(false))
            .init();
    }
}
