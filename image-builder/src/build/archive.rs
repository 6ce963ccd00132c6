//! An archive of exactly the packages of a lock, for a tool that installs from archives.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::fetch;
use super::lock::Locked;
use crate::error::{Doing, Result};
use crate::tools::{Log, dpkg_deb};

/// Makes the archive in the folder `to`, beside the cache: its packages are links. Returns its line of sources.list.
pub(super) fn make(log: &Log, cache: &Path, packages: &[Locked], suite: &str, to: &Path) -> Result<String> {
    fs::create_dir_all(to).doing("make the folder", to)?;
    let mut index = String::new();
    for package in packages {
        let file = fetch::place(cache, package);
        let name = format!("{}.deb", package.sha256);
        let link = to.join(&name);
        fs::hard_link(&file, &link).doing("link a package to", &link)?;
        // Trusted only because the hash of the whole file was found to be that of the lock.
        index.push_str(dpkg_deb::control(log, &file)?.trim_end());
        let _ = writeln!(
            index,
            "\nFilename: ./{name}\nSize: {}\nSHA256: {}\n",
            package.size, package.sha256
        );
    }
    let path = to.join("Packages");
    fs::write(&path, &index).doing("write", &path)?;
    let release = format!(
        "Suite: {suite}\nCodename: {suite}\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
        hex::encode(Sha256::digest(&index)),
        index.len()
    );
    let path = to.join("Release");
    fs::write(&path, release).doing("write", &path)?;
    Ok(format!("deb [trusted=yes] copy://{} ./", to.display()))
}
