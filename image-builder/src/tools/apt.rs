//! `apt-get`: which archives this host uses, and which packages an archive has.

use std::fs;
use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use super::{Log, command};
use crate::error::{Doing, Result};

/// One archive the host's apt is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address of the archive, without the suite.
    pub uri: String,
    /// The suite as configured, as "bookworm-security".
    pub release: String,
    /// What the archive calls itself, as "Debian-Security"; empty until `apt-get update` has run once.
    pub label: String,
}

/// Lists the package archives that apt of this host is configured with.
pub fn sources(log: &Log) -> Result<Vec<Source>> {
    let mut apt = command("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(REPO_URI)|$(RELEASE)|$(LABEL)",
        "Created-By: Packages",
    ]);
    Ok(parse(&log.capture("asking apt for this host's archives", &mut apt)?))
}

/// Fetches the indices of the archives `sources` (lines of sources.list) for `arch` into `folder`, and returns where they
/// are. apt verifies them with `keyring`, or with the key that a line names; nothing of this host's apt is touched.
pub fn update(log: &Log, folder: &Path, sources: &[String], arch: Arch, keyring: &Path) -> Result<PathBuf> {
    let place = |name: &str| folder.join(name);
    for name in ["lists/partial", "cache/archives/partial", "parts"] {
        let path = place(name);
        fs::create_dir_all(&path).doing("make the folder", &path)?;
    }
    for (name, text) in [("status", String::new()), ("sources.list", sources.join("\n") + "\n")] {
        let path = place(name);
        fs::write(&path, text).doing("write", &path)?;
    }
    let mut apt = command("apt-get");
    apt.env("APT_CONFIG", "/dev/null");
    for (key, path) in [
        ("Dir::State::lists", place("lists")),
        ("Dir::State::status", place("status")),
        ("Dir::Cache", place("cache")),
        ("Dir::Etc::sourcelist", place("sources.list")),
        ("Dir::Etc::sourceparts", place("parts")),
        ("Dir::Etc::preferencesparts", place("parts")),
        ("Dir::Etc::trustedparts", place("parts")),
        ("Dir::Etc::trusted", keyring.to_owned()),
    ] {
        apt.arg("-o").arg(format!("{key}={}", path.display()));
    }
    for (key, value) in [
        ("APT::Architecture", arch.debian()),
        ("APT::Architectures", arch.debian()),
        ("APT::Sandbox::User", "root"),
        ("APT::Update::Error-Mode", "any"),
        ("Acquire::GzipIndexes", "false"),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "3"),
    ] {
        apt.arg("-o").arg(format!("{key}={value}"));
    }
    apt.arg("update");
    log.run("fetching the indices of the archives", &mut apt)?;
    Ok(place("lists"))
}

fn parse(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('|');
        let (Some(uri), Some(release), Some(label)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // apt prints an option that it does not know as it was written.
        let label = if label.starts_with('$') { "" } else { label };
        let source = Source {
            uri: uri.trim_end_matches('/').into(),
            release: release.into(),
            label: label.into(),
        };
        if !source.uri.is_empty() && !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_archive_once_and_no_unexpanded_label() {
        let text = "http://a.example/debian/|bookworm|Debian\nhttp://a.example/debian/|bookworm|Debian\nhttp://b.example/s/|x|$(LABEL)\n\n";
        let sources = parse(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uri, "http://a.example/debian");
        assert_eq!(sources[1].label, "");
    }
}
