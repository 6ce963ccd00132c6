//! apt: which archives this host uses, which packages an archive has, which of them it takes, and their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinhull_layout::Arch;

use super::{Log, command};
use crate::error::{Doing, Error, Result};

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

/// The pattern of what Debian calls essential.
pub const ESSENTIAL: &str = "?essential";

/// How apt says so: up to version 2, and since 3.
const SIGNATURE_FAILED: [&str; 2] = ["GPG error: ", "OpenPGP signature verification failed: "];

/// One package file that apt would fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the file is.
    pub uri: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, as 64 hexadecimal digits.
    pub sha256: String,
}

/// Fetches the indices of the archives `sources` (lines of sources.list) for `arch` into `folder`, and returns where they
/// are. apt verifies them with `keyring`, or with the key that a line names; nothing of this host's apt is touched.
pub fn update(log: &Log, folder: &Path, sources: &[String], arch: Arch, keyring: &Path) -> Result<PathBuf> {
    let lists = folder.join("lists");
    let mut apt = isolated(folder, &lists, sources, arch, keyring)?;
    apt.arg("update");
    log.run("fetching the indices of the archives", &mut apt)
        .map_err(|error| match fs::read_to_string(log.path()).as_deref().map(distrust) {
            Ok(Some(said)) => Error::Untrusted {
                said: said.to_owned(),
                log: log.path().to_owned(),
            },
            _ => error,
        })?;
    Ok(lists)
}

/// The line in which apt says that a signature is not by a key it was given. (It says "is not signed", too, of an archive that it cannot
/// reach.)
fn distrust(log: &str) -> Option<&str> {
    let line = (log.lines()).find(|line| SIGNATURE_FAILED.iter().any(|said| line.contains(said)))?;
    Some(line.trim_start_matches(['W', 'E']).trim_start_matches(": "))
}

/// Which package files it takes to have the packages `wanted` with all they depend on, by the indices in `lists`. `folder` is
/// for apt's own files; `sources` and `keyring` are those that the indices were fetched with.
pub fn resolve(
    log: &Log,
    folder: &Path,
    lists: &Path,
    sources: &[String],
    arch: Arch,
    keyring: &Path,
    wanted: &[&str],
) -> Result<Vec<Item>> {
    let mut apt = isolated(folder, lists, sources, arch, keyring)?;
    apt.args(["-o", "Acquire::ForceHash=SHA256", "-qq", "--yes", "--print-uris"])
        .args(["--no-install-recommends", "install"])
        .args(wanted);
    let said = log.capture("resolving the packages", &mut apt)?;
    let items: Option<Vec<Item>> = said.lines().filter(|line| line.starts_with('\'')).map(item).collect();
    items.filter(|items| !items.is_empty()).ok_or_else(|| {
        Error::Content(format!(
            "apt-get did not say what it would fetch; see {}",
            log.path().display()
        ))
    })
}

/// Fetches files: address, target and hash (SHA-256 in hexadecimal digits) of each. The others are fetched although one fails.
pub fn download(log: &Log, files: &[(String, PathBuf, &str)]) -> Result<()> {
    let mut helper = command("/usr/lib/apt/apt-helper");
    for option in ["APT::Sandbox::User=root", "Acquire::Retries=3"] {
        helper.args(["-o", option]);
    }
    helper.arg("download-file");
    for (uri, target, sha256) in files {
        helper.arg(uri).arg(target).arg(format!("SHA256:{sha256}"));
    }
    log.run("fetching packages", &mut helper)
}

/// `apt-get` that knows only `sources`, keeps its files in `folder` and the indices in `lists`.
fn isolated(folder: &Path, lists: &Path, sources: &[String], arch: Arch, keyring: &Path) -> Result<Command> {
    let place = |name: &str| folder.join(name);
    for path in [lists.join("partial"), place("cache/archives/partial"), place("parts")] {
        fs::create_dir_all(&path).doing("make the folder", &path)?;
    }
    for (name, text) in [("status", String::new()), ("sources.list", sources.join("\n") + "\n")] {
        let path = place(name);
        fs::write(&path, text).doing("write", &path)?;
    }
    let mut apt = command("apt-get");
    apt.env("APT_CONFIG", "/dev/null");
    for (key, path) in [
        ("Dir::State::lists", lists.to_owned()),
        ("Dir::State::status", place("status")),
        ("Dir::State::extended_states", place("extended_states")),
        ("Dir::Cache", place("cache")),
        ("Dir::Etc::sourcelist", place("sources.list")),
        ("Dir::Etc::sourceparts", place("parts")),
        ("Dir::Etc::preferences", place("preferences")),
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
        // Left alone, apt counts itself as essential.
        ("pkgCacheGen::ForceEssential", ","),
        ("Acquire::GzipIndexes", "false"),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "3"),
    ] {
        apt.arg("-o").arg(format!("{key}={value}"));
    }
    Ok(apt)
}

/// A line as `'http://a.example/pool/p_1.0_all.deb' p_1%3a1.0_all.deb 1234 SHA256:…`, where `%3a` is a colon.
fn item(line: &str) -> Option<Item> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut fields = rest.split(' ');
    let (file, size, hash) = (fields.next()?, fields.next()?, fields.next()?);
    let mut parts = file.strip_suffix(".deb")?.splitn(3, '_');
    Some(Item {
        name: parts.next()?.to_owned(),
        version: parts.next()?.replace("%3a", ":"),
        uri: uri.to_owned(),
        size: size.parse().ok()?,
        sha256: hash.strip_prefix("SHA256:")?.to_owned(),
    })
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

    #[test]
    fn a_foreign_signature_is_told_from_an_archive_that_is_not_there() {
        let unsigned = "E: The repository 'http://a.example stable InRelease' is not signed.\n";
        let foreign = format!("W: GPG error: http://a.example stable InRelease: NO_PUBKEY D136\n{unsigned}");
        let said = "GPG error: http://a.example stable InRelease: NO_PUBKEY D136";
        assert_eq!(distrust(&foreign), Some(said));
        let newer = "Err:1 x\nW: OpenPGP signature verification failed: http://a.example x InRelease: Missing key 12\n";
        assert!(distrust(newer).unwrap().ends_with("Missing key 12"));
        assert_eq!(
            distrust(&format!("E: Failed to fetch http://a.example  404\n{unsigned}")),
            None
        );
    }

    #[test]
    fn line_of_apt_names_package_version_and_hash() {
        let line = "'http://a.example/pool/main/n/nano_7.2-1%2bdeb12u1_amd64.deb' nano_1%3a7.2-1+deb12u1_amd64.deb 689556 SHA256:45a9";
        let found = item(line).unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str()),
            ("nano", "1:7.2-1+deb12u1")
        );
        assert_eq!((found.size, found.sha256.as_str()), (689_556, "45a9"));
        assert!(found.uri.ends_with("%2bdeb12u1_amd64.deb"));
        // A weaker hash is none.
        assert_eq!(item(&line.replace("SHA256:", "MD5Sum:")), None);
    }
}
