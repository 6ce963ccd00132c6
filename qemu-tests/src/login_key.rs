//! The ssh key of one run, with which its guests are reached.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::{Error, Result};
use crate::tools;

/// Makes a key pair in `folder`, which only this user can read. Gives the path of the secret key, and the public key.
pub async fn make(folder: &Path) -> Result<(PathBuf, String)> {
    let key = folder.join("key");
    let mut keygen = Command::new(tools::program("ssh-keygen")?);
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "twinhull-qemu", "-f"])
        .arg(&key);
    tools::output(&mut keygen).await?;
    let public = key.with_extension("pub");
    let public_key = fs::read_to_string(&public).map_err(|source| Error::file("read", &public, source))?;
    Ok((key, public_key))
}
