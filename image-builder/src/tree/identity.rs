//! What an image says about itself, and what each host must find out for itself.

use std::path::Path;

use twinhull_layout::{Product, Version, paths};

use super::files::{self, folder, link, read, write};
use crate::build::Context;
use crate::error::{Doing, Error, Result};

/// Folders that move into state, with the link that stays. A read-only root would make them useless.
pub(super) const MOVED: [(&str, &str, &str); 3] = [
    ("/root", "/var/roothome", "var/roothome"),
    ("/home", "/var/home", "var/home"),
    ("/srv", "/var/srv", "var/srv"),
];

/// Folders that must exist because something is mounted there.
const MOUNT_POINTS: [&str; 11] = [
    paths::ESP_MOUNT,
    paths::STATE_MOUNT,
    "/var",
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/tmp",
    "/mnt",
    "/media",
    "/opt",
];

/// Where the agent reads which product it runs.
const AGENT_PRODUCT: &str = "/usr/lib/twinhull-updater/config.d/05-product.toml";

/// systemd mounts the ESP at `/boot` where that is absent or empty, and at `/efi` otherwise; here it belongs to `/efi`.
const BOOT_NOTE: &str = "The kernels and the boot loader are on the EFI system partition, which is mounted at /efi.\n";

/// Writes it into `tree`, and returns the text of os-release.
pub(super) fn run(context: &Context<'_>, tree: &Path) -> Result<String> {
    let options = context.options;
    for path in MOUNT_POINTS {
        folder(tree, path)?;
    }
    let release = files::locate(tree, "/usr/lib/os-release")?;
    let text = os_release(&read(&release)?, &context.definition.product, &options.version);
    write(tree, "/usr/lib/os-release", &text, 0o644)?;
    link(tree, "/etc/os-release", "../usr/lib/os-release")?;

    let trusted = std::fs::read(&options.trust_root).doing("read", &options.trust_root)?;
    write(tree, paths::TRUSTED_ROOT, trusted, 0o644)?;

    // What the agent must know of the image; the files of overlays, which come after it, say the rest.
    let product = &context.definition.product;
    write(
        tree,
        AGENT_PRODUCT,
        format!("[updates]\nproduct = \"{product}\"\n"),
        0o644,
    )?;

    write(tree, "/boot/README", BOOT_NOTE, 0o644)?;

    // Empty, not absent: each host gets its own id, and systemd does not take the boot for the very first of a system
    // that still has to be configured, which would set every unit to its preset again.
    write(tree, "/etc/machine-id", "", 0o444)?;
    write(
        tree,
        "/etc/fstab",
        "# Mounted by init and by the types of the partitions; see twinhull's documentation.\n",
        0o644,
    )?;
    link(tree, "/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    link(tree, "/etc/mtab", "../proc/self/mounts")?;
    for (from, to, target) in MOVED {
        move_to_state(tree, from, to, target)?;
    }
    Ok(text)
}

/// Debian's os-release with the image's identity. `ID` and `VERSION_ID` stay Debian's, since scanners look up known
/// vulnerabilities by them; systemd-boot sorts by `IMAGE_ID` and `IMAGE_VERSION` where these are given.
pub fn os_release(debian: &str, product: &Product, version: &Version) -> String {
    let ours = ["PRETTY_NAME", "IMAGE_ID", "IMAGE_VERSION", "DEFAULT_HOSTNAME"];
    let mut base = "Debian GNU/Linux";
    let mut text = String::new();
    for line in debian.lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if key == "PRETTY_NAME" {
            base = value.trim_matches('"');
        }
        if !ours.contains(&key) && !line.trim().is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    format!(
        "PRETTY_NAME=\"{product} {version} ({base})\"\n{text}IMAGE_ID={product}\nIMAGE_VERSION={version}\nDEFAULT_HOSTNAME={product}\n"
    )
}

/// No account of the image has a password, and none tells the day it was built on. `time` is in seconds since 1970. After the
/// last account was made.
pub(super) fn lock_accounts(tree: &Path, time: u64) -> Result<()> {
    let shadow = tree.join("etc/shadow");
    if !shadow.is_file() {
        return Ok(());
    }
    let text = locked(&read(&shadow)?, time / (24 * 60 * 60));
    let meta = shadow.metadata().doing("look at", &shadow)?;
    // Written in place: its owner and mode are the package's.
    std::fs::write(&shadow, text).doing("write", &shadow)?;
    std::fs::set_permissions(&shadow, meta.permissions()).doing("set the mode of", &shadow)
}

fn locked(shadow: &str, day: u64) -> String {
    let mut text = String::new();
    for line in shadow.lines().filter(|line| !line.is_empty()) {
        let mut fields: Vec<&str> = line.split(':').collect();
        let day = day.to_string();
        if fields.len() > 2 {
            fields[1] = if fields[1].starts_with('!') { "!*" } else { "*" };
            fields[2] = &day;
        }
        text.push_str(&fields.join(":"));
        text.push('\n');
    }
    text
}

fn move_to_state(tree: &Path, from: &str, to: &str, target: &str) -> Result<()> {
    let (old, new) = (tree.join(&from[1..]), tree.join(&to[1..]));
    if old.is_symlink() {
        return Ok(());
    }
    if new.symlink_metadata().is_ok() {
        return Err(Error::Content(format!(
            "the image has both {from} and {to}; an overlay must use {to}"
        )));
    }
    if old.is_dir() {
        std::fs::rename(&old, &new).doing("move into state", &old)?;
    } else {
        files::make_folder(&new)?;
    }
    link(tree, from, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_carries_the_image_and_stays_debian_for_scanners() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\nIMAGE_VERSION=0\n";
        let text = os_release(debian, &"twinhull-server".parse().unwrap(), &"1.10.0".parse().unwrap());
        assert_eq!(
            text,
            "PRETTY_NAME=\"twinhull-server 1.10.0 (Debian GNU/Linux 13 (trixie))\"\nID=debian\nVERSION_ID=\"13\"\n\
             IMAGE_ID=twinhull-server\nIMAGE_VERSION=1.10.0\nDEFAULT_HOSTNAME=twinhull-server\n"
        );
    }

    #[test]
    fn no_account_keeps_a_password_or_a_date() {
        let text = locked("root:$y$j9T$abc:20000:0:99999:7:::\nsshd:!:20001::::::\n", 19000);
        assert_eq!(text, "root:*:19000:0:99999:7:::\nsshd:!*:19000::::::\n");
    }

    #[test]
    fn home_of_root_moves_with_its_files() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("root")).unwrap();
        std::fs::create_dir_all(tree.path().join("var")).unwrap();
        std::fs::write(tree.path().join("root/.profile"), "x").unwrap();
        move_to_state(tree.path(), "/root", "/var/roothome", "var/roothome").unwrap();
        assert!(tree.path().join("var/roothome/.profile").is_file());
        assert_eq!(
            std::fs::read_link(tree.path().join("root")).unwrap(),
            Path::new("var/roothome")
        );
    }
}
