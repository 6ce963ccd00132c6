//! The last lines of a command: what was made, how large it is, and what to do next.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use crate::build::Built;
use crate::build::check::Checked;
use crate::build::locking::Written;
use crate::definition::size::Size;
use crate::error::{Doing, Result};
use crate::publish::Published;
use crate::repository::keys;

/// The artefacts of a build with apparent and real size, and the next command to try.
pub fn built(built: &Built) -> Result<String> {
    let mut text = table(&built.files)?;
    if let Some(manifest) = built.files.last() {
        let _ = writeln!(text, "next: twinhull vm {}", manifest.with_extension("raw").display());
        let _ = writeln!(
            text,
            "  or: twinhull publish --repo DIR --keys DIR --channel stable {}",
            manifest.display()
        );
    }
    Ok(text)
}

/// What a definition that is in order would build.
pub fn checked(checked: &Checked, arch: Arch) -> String {
    let definition = &checked.definition;
    let disk = definition.disk;
    let mut text = String::new();
    let _ = writeln!(text, "{} is in order", definition.path.display());
    let _ = writeln!(text, "product   {} for {arch}", definition.product);
    let _ = writeln!(
        text,
        "packages  {} named, from {}",
        definition.packages.len(),
        definition.suite
    );
    if let Some(why) = &checked.names_unknown {
        let _ = writeln!(text, "          whether they exist was not looked up: {why}");
    }
    let _ = writeln!(
        text,
        "budget    root {}, kernel image {}",
        definition.root_budget, definition.uki_budget
    );
    let _ = writeln!(
        text,
        "disk      ESP {}, two slots of {}, state {} and growing",
        disk.esp, disk.root, disk.state
    );
    text
}

/// What a lock holds, and what is another than before.
pub fn locked(written: &Written) -> String {
    let Written { path, lock, before } = written;
    let size: u64 = lock.all().map(|package| package.size).sum();
    let mut text = format!(
        "{}: {} packages of the root, {} of the kernel and the boot loader, {} of the tools, {} in all\n",
        path.display(),
        lock.root.len(),
        lock.boot.len(),
        lock.tools.len(),
        Size(size)
    );
    if let Some(before) = before {
        let changes = lock.changes(before);
        text.push_str(if changes.is_empty() {
            "nothing has changed\n"
        } else {
            &changes
        });
    }
    let _ = writeln!(text, "next: twinhull build DEFINITION --lock {} …", path.display());
    text
}

/// What was published and how large each payload is.
pub fn published(published: &Published) -> String {
    let mut text = String::new();
    for (what, size) in &published.payloads {
        let _ = writeln!(text, "{:>12}  {what}", size.to_string());
    }
    let name = published.manifest.name();
    if !published.waiting.is_empty() {
        let _ = writeln!(
            text,
            "{name} is not offered to anybody before it is signed (`twinhull repo sign`):"
        );
        text.push_str(&keys::to_text(&published.waiting));
        if let Some(channel) = &published.channel {
            let _ = writeln!(text, "the channel {channel} offers it from then on");
        }
        return text;
    }
    let _ = match &published.channel {
        Some(channel) => writeln!(text, "{name} is published, and the channel {channel} offers it"),
        None => writeln!(text, "{name} is published; no channel offers it yet (--channel)"),
    };
    text
}

/// One line for each file: its size, the room it takes, its path.
pub fn table(files: &[PathBuf]) -> Result<String> {
    let mut text = format!("{:>12} {:>12}  file\n", "size", "on disk");
    for file in files {
        let (apparent, real) = sizes(file)?;
        let _ = writeln!(
            text,
            "{:>12} {:>12}  {}",
            apparent.to_string(),
            real.to_string(),
            file.display()
        );
    }
    Ok(text)
}

fn sizes(file: &Path) -> Result<(Size, Size)> {
    let meta = file.metadata().doing("look at", file)?;
    Ok((Size(meta.len()), Size(meta.blocks() * 512)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_file_shows_both_sizes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(3 << 30).unwrap();
        let text = table(&[file.path().to_owned()]).unwrap();
        assert!(text.contains("     3.0 GiB      0 bytes  /"), "{text}");
    }
}
