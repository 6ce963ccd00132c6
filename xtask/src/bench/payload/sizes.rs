//! Memory to apply with, by the size of the image.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Files, QUICK, quiet};
use crate::evidence::{Evidence, Figure, Goal};
use crate::measure;

/// What the agent may hold at most.
const MEMORY: f64 = 32e6;

/// Applies a delta to an image of each size. The images are the pair's, one after another until they are large enough, each copy
/// of the new one with a few bytes of its own in every MiB: work in every segment.
pub(super) fn run(tool: &Path, files: &Files, evidence: &mut Evidence) -> Result<()> {
    for (name, mebibytes) in [("512m", 512), ("1g", 1024), ("4g", 4096)] {
        let folder = files.fresh("sizes")?;
        let (new, payload, output) = (folder.join("new"), folder.join("delta"), folder.join("output"));
        grow(&files.new, &new, mebibytes << 20)?;
        let mut command = quiet(tool);
        measure::run(command.args(["make", QUICK]).arg(&new).arg(&payload).arg(&files.old))?;
        let expected = sum(&new)?;
        // Two of the largest do not have to fit beside each other.
        fs::remove_file(&new).context("cannot remove an image")?;
        let mut command = quiet(tool);
        let apply = measure::run(command.arg("apply").arg(&payload).arg(&output).arg(&files.old))?;
        ensure!(sum(&output)? == expected, "{} came out wrong", output.display());
        eprintln!(
            "{mebibytes} MiB from {} bytes: {:.2} CPU s",
            Files::size(&payload)?,
            apply.cpu.as_secs_f64()
        );
        evidence.add(
            Figure::count(format!("payload.apply.peak_memory.{name}"), apply.peak_memory, "B")
                .goal(Goal::AtMost(MEMORY)),
        );
        fs::remove_dir_all(&folder).context("cannot remove an image")?;
    }
    Ok(())
}

fn grow(image: &Path, to: &Path, size: u64) -> Result<()> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut left = size;
    let mut written = || -> io::Result<()> {
        for copy in 0_u64.. {
            for (number, piece) in (0_u64..).zip(bytes.chunks(1 << 20)) {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                let mark = (copy << 32 | number).to_le_bytes();
                let marked = take.min(mark.len());
                out.write_all(&mark[..marked])?;
                out.write_all(&piece[marked..take])?;
                left -= take as u64;
                if left == 0 {
                    return out.flush();
                }
            }
        }
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", to.display()))
}

fn sum(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum")
        .arg(file)
        .output()
        .context("cannot start sha256sum")?;
    ensure!(output.status.success(), "cannot read {}", file.display());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}
