//! One machine with its console on this terminal.

use std::io::Write as _;
use std::path::Path;

use crate::accelerator::{self, Choice};
use crate::disk::Disk;
use crate::error::Result;
use crate::firmware::Firmware;
use crate::login_key;
use crate::machine::credential::Credential;
use crate::machine::{Machine, Plan};
use crate::pace::Pace;
use crate::run_folder::RunFolder;
use crate::scenario::copy_sparse;
use crate::steps::Board;

/// Boots a private copy of `image` and shows its console until the machine is off.
///
/// A root login by ssh is open with a key of this run; how to use it is shown first.
pub async fn run(image: &Path, choice: Choice, memory_mib: u32, work: &Path) -> Result<()> {
    let arch = Disk::architecture(image)?;
    let board = Board::new();
    let folders = RunFolder::create(work)?;
    let proven = accelerator::prove(choice, arch, &folders).await?;
    let pace = Pace::measured(proven.firmware_boot);
    board.line(&proven.in_words(arch, pace));
    let (key, public_key) = login_key::make(folders.sockets()).await?;
    let disk = folders.disks().join("host.raw");
    copy_sparse(image, &disk).await?;
    let machine = Machine::start(Plan {
        pace,
        disk: Some(disk),
        credentials: vec![Credential::root_key(&public_key)],
        key: Some(key),
        memory_mib,
        ..Plan::new(
            "run".to_owned(),
            Firmware::find(arch)?,
            arch,
            proven.accelerator,
            &folders,
        )
    })
    .await?;
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
