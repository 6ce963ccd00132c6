//! Which files of two builds differ, and where the first difference is.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Endings of the artefacts, in the order in which one follows from the other: what comes first explains the rest.
const ORDER: [&str; 6] = ["lock", "packages", "raw", "efi", "spdx.json", "json"];

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

/// Says what differs first between two files of the same kind; `builder` looks into disks.
pub(super) fn explain(builder: &Path, one: &Path, other: &Path) -> Result<String> {
    let Some(at) = first_byte(one, other)? else {
        return Ok("nothing differs".to_owned());
    };
    let name = one.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = format!("first difference: {name}, at byte {at}");
    for side in [one, other] {
        let _ = write!(text, "\n  {}: {}", side.display(), excerpt(side, at)?);
    }
    if one.extension().is_some_and(|ending| ending == "raw") {
        let manifests = [one, other].map(|disk| disk.with_extension("json"));
        let said = Command::new(builder).arg("diff").args(&manifests).output();
        let said = said.with_context(|| format!("cannot start {}", builder.display()))?;
        for line in String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).lines() {
            let _ = write!(text, "\n  {line}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artefacts_come_in_the_order_of_their_causes() {
        let folder = tempfile::tempdir().unwrap();
        for ending in ["json", "raw", "log", "spdx.json", "efi", "lock", "packages"] {
            fs::write(folder.path().join(format!("p_1_x86_64.{ending}")), "").unwrap();
        }
        let endings: Vec<String> = (artefacts(folder.path()).unwrap().iter())
            .map(|name| name.replacen("p_1_x86_64.", "", 1))
            .collect();
        assert_eq!(endings, ["lock", "packages", "raw", "efi", "spdx.json", "json"]);
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
        assert!(explain(Path::new("none"), &one, &other).unwrap().contains("at byte 2"));
    }
}
