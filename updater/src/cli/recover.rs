//! `twinhull-updater recover`

use twinhull_trust::Client;

use super::{Exit, Output};
use crate::agent::{Busy, OnlyOne};
use crate::paths::Paths;

pub(super) fn run(paths: &Paths, output: &Output) -> anyhow::Result<Exit> {
    let _only_one = match OnlyOne::try_take(paths, "twinhull-updater recover") {
        Ok(only_one) => only_one,
        Err(busy @ Busy::Other(_)) => {
            eprintln!("{busy}");
            return Ok(Exit::Busy);
        }
        Err(error) => return Err(error.into()),
    };
    let root = crate::agent::trusted_root(paths)?;
    let recovered = Client::recover(&paths.metadata(), &root)?;
    let text = if recovered.given_up.is_empty() {
        "nothing was lost".to_owned()
    } else {
        format!("this host no longer knows:\n  {}", recovered.given_up.join("\n  "))
    };
    output.print(&serde_json::json!({"given_up": recovered.given_up}), &text)?;
    Ok(Exit::Done)
}
