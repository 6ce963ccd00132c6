//! Which files of two builds differ, and where the first difference is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Endings of the artefacts, in the order in which one follows from the other: what comes first explains the rest.
const ORDER: [&str; 7] = ["lock", "packages", "root", "efi", "raw", "spdx.json", "json"];

/// Bytes that are shown of each side.
const SHOWN: usize = 16;

/// The names of the artefacts in the folder `output`, in the order in which one follows from the other.
pub(super) fn artefacts(output: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(output).with_context(|| format!("cannot list {}", output.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // A log tells of this one build.
        if !name.starts_with('.') && Path::new(&name).extension().is_none_or(|ending| ending != "log") {
            names.push(name);
        }
    }
    let rank = |name: &String| ORDER.iter().position(|ending| name.ends_with(&format!(".{ending}")));
    names.sort_by_key(|name| (rank(name).unwrap_or(ORDER.len()), name.clone()));
    if names.is_empty() {
        bail!("{} holds no artefacts", output.display());
    }
    Ok(names)
}

/// Those of `names` that are not the same in both folders.
pub(super) fn find(one: &Path, other: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        if first_byte(&one.join(name), &other.join(name))?.is_some() {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// Says what differs first between two files of the same kind.
pub(super) fn explain(one: &Path, other: &Path) -> Result<String> {
    let Some(at) = first_byte(one, other)? else {
        return Ok("nothing differs".to_owned());
    };
    let name = one.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = format!("first difference: {name}, at byte {at}");
    if one.extension().is_some_and(|ending| ending == "root") {
        let (one, other) = (Extracted::of(one)?, Extracted::of(other)?);
        let _ = write!(text, "\n  {}", in_trees(one.0.path(), other.0.path())?);
    } else {
        for side in [one, other] {
            let _ = write!(text, "\n  {}: {}", side.display(), excerpt(side, at)?);
        }
    }
    Ok(text)
}

/// Where two files differ first; the length of the shorter when one continues the other.
fn first_byte(one: &Path, other: &Path) -> Result<Option<u64>> {
    let open = |path: &Path| {
        File::open(path)
            .map(|file| BufReader::with_capacity(1 << 20, file))
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut first, mut second) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let (count, others) = (fill(&mut one, &mut first)?, fill(&mut other, &mut second)?);
        if let Some(index) = first[..count].iter().zip(&second[..others]).position(|(a, b)| a != b) {
            return Ok(Some(at + index as u64));
        }
        if count != others {
            return Ok(Some(at + count.min(others) as u64));
        }
        if count == 0 {
            return Ok(None);
        }
        at += count as u64;
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..])? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}

/// What stands in a file from `at` on.
fn excerpt(path: &Path, at: u64) -> Result<String> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; SHOWN];
    let file = File::open(path)?;
    let count = file.read_at(&mut bytes, at)?;
    bytes.truncate(count);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{} {:?}", hex.join(" "), String::from_utf8_lossy(&bytes)))
}

/// The first file that is not the same in two trees.
fn in_trees(one: &Path, other: &Path) -> Result<String> {
    let (first, second) = (tree(one)?, tree(other)?);
    let names: std::collections::BTreeSet<&PathBuf> = first.keys().chain(second.keys()).collect();
    for name in names {
        match (first.get(name), second.get(name)) {
            (Some(a), Some(b)) if a != b => return Ok(format!("/{} is {a} and {b}", name.display())),
            (Some(_), None) => return Ok(format!("/{} is only in the first", name.display())),
            (None, Some(_)) => return Ok(format!("/{} is only in the other", name.display())),
            _ => {}
        }
        let (a, b) = (one.join(name), other.join(name));
        if a.symlink_metadata()?.is_file()
            && let Some(at) = first_byte(&a, &b)?
        {
            return Ok(format!(
                "/{} differs at byte {at}:\n    {}\n    {}",
                name.display(),
                excerpt(&a, at)?,
                excerpt(&b, at)?
            ));
        }
    }
    Ok("all files are the same: the file system lays them out differently".to_owned())
}

/// Everything in a tree, with what an image keeps of it beside the content.
fn tree(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let meta = path.symlink_metadata()?;
            let target = if meta.is_symlink() {
                format!(" to {}", fs::read_link(&path)?.display())
            } else {
                String::new()
            };
            let size = if meta.is_file() { meta.len() } else { 0 };
            let what = format!(
                "mode {:o}, owner {}:{}, {size} bytes, time {}{target}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime()
            );
            found.insert(path.strip_prefix(root)?.to_owned(), what);
            if meta.is_dir() {
                pending.push(path);
            }
        }
    }
    Ok(found)
}

/// The files of a root image, in a folder that goes when this does.
struct Extracted(tempfile::TempDir);

impl Extracted {
    fn of(image: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(image.parent().unwrap_or(Path::new(".")))?;
        let status = Command::new("fsck.erofs")
            .arg(format!("--extract={}", folder.path().join("x").display()))
            .arg(image)
            .stdout(std::process::Stdio::null())
            .status()
            .context("cannot start fsck.erofs")?;
        if !status.success() {
            bail!("fsck.erofs cannot extract {}: {status}", image.display());
        }
        Ok(Self(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artefacts_come_in_the_order_of_their_causes() {
        let folder = tempfile::tempdir().unwrap();
        for ending in ["json", "raw", "log", "spdx.json", "root", "efi", "lock", "packages"] {
            fs::write(folder.path().join(format!("p_1_x86_64.{ending}")), "").unwrap();
        }
        let endings: Vec<String> = (artefacts(folder.path()).unwrap().iter())
            .map(|name| name.replacen("p_1_x86_64.", "", 1))
            .collect();
        assert_eq!(endings, ["lock", "packages", "root", "efi", "raw", "spdx.json", "json"]);
    }

    #[test]
    fn a_file_that_goes_on_differs_where_the_other_ends() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (one, longer, other) = (write("a", "abc"), write("b", "abcd"), write("c", "abX"));
        assert_eq!(first_byte(&one, &one).unwrap(), None);
        assert_eq!(first_byte(&one, &longer).unwrap(), Some(3));
        assert!(explain(&one, &other).unwrap().contains("at byte 2"));
    }

    #[test]
    fn trees_differ_by_mode_and_content() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("1"), folder.path().join("2"));
        for tree in [&one, &other] {
            fs::create_dir_all(tree).unwrap();
            let file = tree.join("f");
            fs::write(&file, "same").unwrap();
            // Two files that are made one after the other rarely have one time.
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        }
        assert!(in_trees(&one, &other).unwrap().starts_with("all files are the same"));
        fs::set_permissions(other.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(in_trees(&one, &other).unwrap().contains("mode 100600"));
    }
}
