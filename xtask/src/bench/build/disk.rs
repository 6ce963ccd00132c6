//! How much of the disk a program holds at most while it runs.
//!
//! `du` looks at the folders again and again: what is there only for moments between two looks is missed, on both sides alike. It counts
//! blocks, so holes cost nothing, and a file with two names once.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::privilege::as_root;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes that `folders` hold together.
pub(super) fn held(folders: &[PathBuf]) -> Result<u64> {
    let output = as_root("du")
        .args(["--summarize", "--total", "--block-size=1"])
        .args(folders.iter().filter(|folder| folder.exists()))
        .output()
        .context("cannot start du")?;
    // Files that vanish while it looks are no failure: the last line is the sum in any case.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let sum = said.lines().last().and_then(|line| line.split_whitespace().next());
    sum.and_then(|sum| sum.parse().ok())
        .with_context(|| format!("du said {said:?} of {folders:?}"))
}

/// Bytes of the disk that one file takes.
pub(super) fn of_file(file: &Path) -> Result<u64> {
    held(&[file.to_owned()])
}

/// Does `work` and says what `folders` held at most meanwhile, in bytes.
pub(super) fn peak_during<T>(folders: &[PathBuf], work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    highest_during(|| held(folders), work)
}

/// Does `work` and says the most that `look` found before, meanwhile and after.
fn highest_during<T>(look: impl Fn() -> Result<u64> + Send, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let looking = scope.spawn(move || {
            let mut highest = 0;
            loop {
                highest = highest.max(look()?);
                // The other end is dropped when the work is done, whatever came of it.
                if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return Ok::<u64, anyhow::Error>(highest.max(look()?));
                }
            }
        });
        let result = work();
        drop(done);
        let highest = looking.join().map_err(|_| anyhow!("looking at the disk failed"))?;
        Ok((result?, highest?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn holes_and_second_names_cost_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        let before = held(&folders).unwrap();
        fs::write(folder.path().join("data"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.path().join("data"), folder.path().join("again")).unwrap();
        let hole = File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        let grown = held(&folders).unwrap() - before;
        assert!((1 << 20..2 << 20).contains(&grown), "{grown}");
    }

    #[test]
    fn what_is_gone_at_the_end_counts() {
        let (held, (say, seen)) = (AtomicU64::new(1), mpsc::channel());
        let look = || {
            let now = held.load(Ordering::SeqCst);
            // Nobody listens any more once the work has heard it.
            let _ = say.send(now);
            Ok(now)
        };
        let work = || {
            held.store(9, Ordering::SeqCst);
            while seen.recv()? != 9 {}
            held.store(2, Ordering::SeqCst);
            Ok("done")
        };
        assert_eq!(highest_during(look, work).unwrap(), ("done", 9));
    }

    #[test]
    fn a_failure_is_the_works() {
        let result = highest_during(|| Ok(1), || Err::<(), _>(anyhow!("no")));
        assert_eq!(result.unwrap_err().to_string(), "no");
    }
}
