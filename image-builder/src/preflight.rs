//! What is checked before any work: tools, rights and room. A user learns in a second what would fail after minutes.

use std::path::Path;

use crate::definition::size::{MIB, Size};
use crate::error::{Doing, Error, Result};
use crate::tools;

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

/// Checks that a file the command line names is there, before minutes are spent.
pub(crate) fn file(path: &Path, option: &str) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{option} {}: there is no such file",
        path.display()
    )))
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
        let error = file(Path::new("/nowhere/init"), "--init").unwrap_err().to_string();
        assert_eq!(error, "--init /nowhere/init: there is no such file");
    }
}
