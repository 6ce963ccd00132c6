//! `twinhull-lock`: the reboot lock server and its administration.

use std::process::ExitCode;

use clap::Parser;
use twinhull_lock::command::{Arguments, CommandError};

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("twinhull-lock: {error}");
            ExitCode::from(match error {
                CommandError::Refused(_) => 3,
                _ => 1,
            })
        }
    }
}
