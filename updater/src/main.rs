//! `twinhull-updater`: see the library of the same name.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use twinhull_updater::cli::{Cli, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("TWINHULL_LOG").unwrap_or_else(|_| EnvFilter::new(cli.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // The journal has its own clock, and a person at the keyboard has one on the wall.
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{error:#}");
            Exit::Failed.into()
        }
    }
}
