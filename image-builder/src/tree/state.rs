//! `/var`: what packages ship there becomes a template, made at boot on the state partition.
//!
//! The package database is no state: it describes the image and must change with it, so it moves into `/usr`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::files::{self, link, list, read, remove, write};
use super::tmpfiles;
use crate::error::{Doing, Error, Result};

/// Where the package database is in the image.
const DATABASE: &str = "usr/lib/sysimage/dpkg";

/// The list of packages in it.
pub(crate) const PACKAGES: &str = "usr/lib/sysimage/dpkg/status";

/// Where the content of `/var` is kept in the image.
const FACTORY: &str = "usr/share/factory/var";

/// The file that says what is made of it.
const OURS: &str = "/usr/lib/tmpfiles.d/twinhull-state.conf";

/// Records of package tools below `/var`, which cannot run on a host and mean nothing there, and caches.
const NOT_SHIPPED: [&str; 15] = [
    "backups",
    "cache/adduser",
    "cache/apt",
    "cache/debconf",
    "cache/ldconfig",
    "lib/apt",
    "lib/misc",
    "lib/pam",
    "lib/shells.state",
    "lib/systemd/deb-systemd-helper-enabled",
    "lib/systemd/deb-systemd-user-helper-enabled",
    "lib/ucf",
    "log/apt",
    "log/runit",
    "log/README",
];

/// Folders below `/var` that are shipped without the files in them.
const WITHOUT_FILES: [&str; 3] = ["/var/cache/", "/var/log/", "/var/tmp/"];

/// Files that describe the image rather than the host. A link keeps the host's view in step with the image.
const LINKED: [&str; 1] = ["/var/lib/systemd/catalog/database"];

/// One file below `/var`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    kind: Kind,
    mode: u32,
    user: u32,
    group: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link(String),
}

/// The packages installed in `tree`: name and version, sorted.
pub(crate) fn packages(tree: &Path) -> Result<Vec<(String, String)>> {
    installed(&read(&tree.join("var/lib/dpkg/status"))?)
        .ok_or_else(|| Error::Content("the package database of the image cannot be read".into()))
}

/// What the database `status` has as installed: name and version, sorted. Nothing when it is none.
pub(crate) fn installed(status: &str) -> Option<Vec<(String, String)>> {
    let mut packages = Vec::new();
    for stanza in status.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("Status:")?.ends_with(" installed") {
            packages.push((field("Package:")?.to_owned(), field("Version:")?.to_owned()));
        }
    }
    packages.sort_unstable();
    Some(packages)
}

/// Turns `/var` of `tree` into a template and leaves it empty.
pub(super) fn run(tree: &Path) -> Result<()> {
    let var = tree.join("var");
    move_database(tree)?;
    for path in NOT_SHIPPED {
        remove(&var.join(path))?;
    }
    let mut entries = Vec::new();
    walk(tree, &var, &mut entries)?;
    tmpfiles::follow_moved_folders(tree)?;
    let text = lines(&entries, &tmpfiles::made_by_packages(tree)?);
    let factory = tree.join(FACTORY);
    if let Some(parent) = factory.parent() {
        files::make_folder(parent)?;
    }
    fs::rename(&var, &factory).doing("move into the template", &var)?;
    files::make_folder(&var)?;
    write(tree, OURS, text, 0o644)
}

fn move_database(tree: &Path) -> Result<()> {
    let (old, new) = (tree.join("var/lib/dpkg"), tree.join(DATABASE));
    for file in [
        "lock",
        "lock-frontend",
        "status-old",
        "available",
        "available-old",
        "statoverride-old",
        "diversions-old",
        "triggers/Lock",
        "parts",
    ] {
        remove(&old.join(file))?;
    }
    if let Some(parent) = new.parent() {
        files::make_folder(parent)?;
    }
    fs::rename(&old, &new).doing("move the package database from", &old)?;
    link(tree, "/var/lib/dpkg", &format!("../../{DATABASE}"))
}

/// Lists what is below `/var`, folders before what they hold, and removes files that do not ship.
fn walk(tree: &Path, folder: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    for path in list(folder)? {
        let meta = path.symlink_metadata().doing("look at", &path)?;
        let name = super::in_image(tree, &path);
        if meta.is_file() && WITHOUT_FILES.iter().any(|folder| name.starts_with(folder)) {
            remove(&path)?;
            continue;
        }
        let kind = if meta.is_dir() {
            Kind::Folder
        } else if meta.is_symlink() {
            Kind::Link(
                fs::read_link(&path)
                    .doing("read the link", &path)?
                    .to_string_lossy()
                    .into_owned(),
            )
        } else if meta.is_file() {
            Kind::File
        } else {
            return Err(Error::Content(format!(
                "{name} in the image is neither file nor folder nor link; exclude it"
            )));
        };
        let is_folder = kind == Kind::Folder;
        entries.push(Entry {
            path: name,
            kind,
            mode: meta.permissions().mode() & 0o7777,
            user: meta.uid(),
            group: meta.gid(),
        });
        if is_folder {
            walk(tree, &path, entries)?;
        }
    }
    Ok(())
}

/// tmpfiles.d(5) lines that make `entries`, without those that packages make themselves.
fn lines(entries: &[Entry], made: &BTreeSet<String>) -> String {
    let mut text = String::from("# What the packages of the image keep in /var.\n");
    for entry in entries.iter().filter(|entry| !made.contains(&entry.path)) {
        let Entry {
            path,
            mode,
            user,
            group,
            ..
        } = entry;
        let name = escaped(path);
        let line = match &entry.kind {
            Kind::Folder => format!("d {name} {mode:04o} {user} {group} -"),
            Kind::Link(target) => format!("L {name} - - - - {}", target.replace('%', "%%")),
            Kind::File if LINKED.contains(&path.as_str()) => {
                format!("L {name} - - - - /{FACTORY}{}", path.trim_start_matches("/var"))
            }
            Kind::File => format!(
                "C {name} {mode:04o} {user} {group} - /{FACTORY}{}",
                escaped(path.trim_start_matches("/var"))
            ),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

/// A path as tmpfiles.d wants it: blanks and backslashes as C escapes, percent signs doubled.
fn escaped(path: &str) -> String {
    path.replace('\\', "\\\\").replace(' ', "\\x20").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode,
            user: 0,
            group: 42,
        }
    }

    #[test]
    fn each_kind_has_its_line_and_packages_own_are_left_out() {
        let entries = [
            entry("/var/log", Kind::Folder, 0o755),
            entry("/var/lib/x y", Kind::Folder, 0o1770),
            entry("/var/lib/x y/f", Kind::File, 0o640),
            entry("/var/mail", Kind::Link("spool/mail".into()), 0o777),
            entry("/var/lib/systemd/catalog/database", Kind::File, 0o644),
        ];
        let made = BTreeSet::from(["/var/log".to_owned()]);
        assert_eq!(
            lines(&entries, &made),
            "# What the packages of the image keep in /var.\n\
             d /var/lib/x\\x20y 1770 0 42 -\n\
             C /var/lib/x\\x20y/f 0640 0 42 - /usr/share/factory/var/lib/x\\x20y/f\n\
             L /var/mail - - - - spool/mail\n\
             L /var/lib/systemd/catalog/database - - - - /usr/share/factory/var/lib/systemd/catalog/database\n"
        );
    }

    #[test]
    fn var_is_left_empty_and_the_database_is_in_usr() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "var/lib/dpkg/status",
            "var/lib/dpkg/lock",
            "var/log/wtmp",
            "var/lib/app/seed",
            "var/cache/apt/x",
        ] {
            let path = tree.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        run(tree.path()).unwrap();
        assert_eq!(list(&tree.path().join("var")).unwrap().len(), 0);
        assert!(tree.path().join("usr/lib/sysimage/dpkg/status").is_file());
        assert!(!tree.path().join("usr/lib/sysimage/dpkg/lock").exists());
        let text = fs::read_to_string(tree.path().join("usr/lib/tmpfiles.d/twinhull-state.conf")).unwrap();
        assert!(
            text.contains("L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg\n"),
            "{text}"
        );
        assert!(text.contains("C /var/lib/app/seed "), "{text}");
        assert!(!text.contains("wtmp") && !text.contains("cache/apt"), "{text}");
    }

    #[test]
    fn only_installed_packages_are_listed() {
        let status = "Package: b\nStatus: install ok installed\nVersion: 1:2-3\n\nPackage: a\nStatus: deinstall ok config-files\nVersion: 1\n\n";
        assert_eq!(installed(status), Some(vec![("b".into(), "1:2-3".into())]));
    }
}
