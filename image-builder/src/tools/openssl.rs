//! `openssl`: makes RSA keys and certificates, once in the life of a fleet. Nothing of it enters an image but the certificates.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Log, command};
use crate::error::{Doing, Result};

/// Days a certificate is valid: firmware does not look at it, other tools do.
const DAYS: &str = "7300";

/// Writes a new RSA key, mode 0600. Of 2048 bits, because that is what all firmware takes.
pub fn key(log: &Log, target: &Path) -> Result<()> {
    let unfinished = target.with_extension("part");
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .doing("make the key file", &unfinished)?;
    let mut openssl = command("openssl");
    openssl
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(&unfinished);
    log.run("making a key", &mut openssl)?;
    std::fs::rename(&unfinished, target).doing("move into place", target)
}

/// Writes a certificate for `key` that it signs itself.
pub fn certificate(log: &Log, key: &Path, target: &Path, name: &str) -> Result<()> {
    let unfinished = target.with_extension("part");
    let mut openssl = command("openssl");
    openssl
        // What the host's openssl.cnf says is not for these.
        .env("OPENSSL_CONF", "/dev/null")
        .args([
            "req",
            "-x509",
            "-new",
            "-sha256",
            "-days",
            DAYS,
            "-subj",
            &format!("/CN={name}"),
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-key"])
        .arg(key)
        .arg("-out")
        .arg(&unfinished);
    log.run("making a certificate", &mut openssl)?;
    std::fs::rename(&unfinished, target).doing("move into place", target)
}
