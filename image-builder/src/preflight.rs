//! What is checked before any work: tools, rights and room. A user learns in a second what would fail after minutes.

use std::path::Path;

use twinhull_layout::Arch;
use twinhull_trust::Client;

use crate::definition::size::{MIB, Size};
use crate::error::{Doing, Error, Result};
use crate::{bounded, elf, tools};

/// The longest root of trust that is read, in bytes: one with a hundred keys has a tenth of it.
const MAX_TRUST_ROOT: u64 = 1 << 20;

/// Every program of this host that a build runs, with the Debian package that brings it. Those that shape the image are not
/// among them: they come from the packages of the build ([`crate::tools::root`]).
const TOOLS: [(&str, &str); 9] = [
    ("apt-get", "apt"),
    ("chroot", "coreutils"),
    ("cp", "coreutils"),
    ("dpkg-deb", "dpkg"),
    ("mount", "mount"),
    ("sh", "dash"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("/usr/lib/apt/apt-helper", "apt"),
];

/// The keys that packages are verified with; a file, hence not among the programs.
pub(crate) const KEYRING: (&str, &str) = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "debian-archive-keyring",
);

/// Room for the installed packages and what is downloaded meanwhile.
const CACHE_NEEDS: Size = Size(1200 * MIB);

/// Room for the working tree, the root image, its tree of hashes and the disk, each as large as the packages.
const OUTPUT_NEEDS: Size = Size(2000 * MIB);

/// The names of these programs.
pub(crate) fn programs() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|(program, _)| *program)
}

/// Checks that every tool is there, and those of `extra`, which only some definitions need.
pub(crate) fn tools(extra: &[(&'static str, &'static str)]) -> Result<()> {
    let mut missing: Vec<(&'static str, &'static str)> = (TOOLS.iter().chain(extra))
        .copied()
        .filter(|(program, _)| tools::find(program).is_none())
        .collect();
    if !Path::new(KEYRING.0).is_file() {
        missing.push(KEYRING);
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::MissingTools { missing })
    }
}

/// Checks that this process may make files of any owner.
pub(crate) fn root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot("building an image"))
    }
}

/// Checks the room at both places; together when they are on one file system.
pub(crate) fn room(cache: Option<&Path>, output: &Path) -> Result<()> {
    let same = match cache {
        Some(cache) => device(cache)? == device(output)?,
        None => false,
    };
    if let (Some(cache), false) = (cache, same) {
        require(cache, CACHE_NEEDS, "the packages")?;
    }
    let needed = if same {
        Size(CACHE_NEEDS.0 + OUTPUT_NEEDS.0)
    } else {
        OUTPUT_NEEDS
    };
    require(output, needed, "the image and what it is made from")
}

fn device(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(path.metadata().doing("look at", path)?.dev())
}

fn require(path: &Path, needed: Size, purpose: &'static str) -> Result<()> {
    let stat = nix::sys::statvfs::statvfs(path)
        .map_err(std::io::Error::from)
        .doing("ask for the free space of", path)?;
    let free = Size(stat.blocks_available().saturating_mul(stat.fragment_size()));
    if free < needed {
        return Err(Error::NoSpace {
            path: path.to_owned(),
            free,
            needed,
            purpose,
        });
    }
    Ok(())
}

/// Checks that a file the command line names is there.
pub(crate) fn file(path: &Path, option: &str) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{option} {}: there is no such file",
        path.display()
    )))
}

/// What is wrong with the init that the command line names, if anything: only a host at its first boot would tell.
pub(crate) fn init(path: &Path, arch: Arch) -> Option<String> {
    let problem = elf::check(path, arch).err()?;
    Some(format!(
        "--init {} cannot be the init of this image: {problem}",
        path.display()
    ))
}

/// What is wrong with the root of trust that the command line names, if anything: hosts with it would take no release, ever.
/// One that has expired is none: hosts go on from it to the newest that the repository has.
pub(crate) fn trust_root(path: &Path) -> Option<String> {
    let problem = match (bounded::read(path, MAX_TRUST_ROOT), tempfile::tempdir()) {
        (Err(error), _) | (_, Err(error)) => error.to_string(),
        // As a host begins: nothing known but this.
        (Ok(bytes), Ok(state)) => Client::open(state.path(), &bytes).err()?.to_string(),
    };
    Some(format!(
        "--trust-root {} is not metadata/root.json of a release repository: {problem}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_says_what_is_needed_where() {
        let error = require(Path::new("/"), Size(u64::MAX), "the packages")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/ has ") && error.ends_with("are needed there for the packages"),
            "{error}"
        );
    }

    #[test]
    fn absent_file_names_its_option() {
        let said = init(Path::new("/nowhere/init"), Arch::X86_64).unwrap();
        assert!(
            said.starts_with("--init /nowhere/init ") && said.contains("No such file"),
            "{said}"
        );
        let said = trust_root(Path::new("/nowhere/root.json")).unwrap();
        assert!(
            said.starts_with("--trust-root /nowhere/root.json ") && said.contains("No such file"),
            "{said}"
        );
    }

    #[test]
    fn root_of_trust_must_be_signed_by_its_own_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (repository, keys) = (folder.path().join("repo"), folder.path().join("keys"));
        let root = crate::repository::init_with(&repository, &keys, &twinhull_trust::Setup::default()).unwrap();
        assert_eq!(trust_root(&root), None);
        let text = std::fs::read_to_string(&root).unwrap();
        for spoilt in [
            text.replacen("\"version\":1", "\"version\":2", 1),
            text.replacen("\"version\": 1", "\"version\": 2", 1),
            "{}".to_owned(),
            String::new(),
            "x".repeat(1 << 22),
        ] {
            if spoilt != text {
                std::fs::write(&root, &spoilt).unwrap();
                assert!(trust_root(&root).is_some(), "{}", &spoilt[..spoilt.len().min(80)]);
            }
        }
    }
}
