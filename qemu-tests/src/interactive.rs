//! One machine with its console on this terminal.

use std::io::Write as _;
use std::path::Path;

use crate::accelerator::Choice;
use crate::alone::Alone;
use crate::error::Result;
use crate::steps::Board;

/// Boots a private copy of `image` and shows its console until the machine is off.
///
/// A root login by ssh is open with a key of this run; how to use it is shown first.
pub async fn run(image: &Path, choice: Choice, memory_mib: u32) -> Result<()> {
    let board = Board::new();
    let alone = Alone::prepare(image, choice, &board).await?;
    let outcome = watched(&alone, image, memory_mib, &board).await;
    alone.conclude(outcome)
}

async fn watched(alone: &Alone, image: &Path, memory_mib: u32, board: &Board) -> Result<()> {
    let machine = alone.start("run".to_owned(), image, memory_mib, false).await?;
    board.line(&format!("to log in: {}", machine.login_command()));
    board.line("Ctrl-C ends the machine and removes its disk");
    let mut shown = 0;
    loop {
        let (text, end) = machine.console().text_from(shown);
        shown = end;
        if show(&text).is_err() {
            // Whoever read this has gone away.
            return Ok(());
        }
        tokio::select! {
            () = machine.console().grown(shown) => {}
            () = machine.ended() => return Ok(()),
        }
    }
}

fn show(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
