//! The lock file: every package that a build takes, to the byte, as `Cargo.lock` does it for programs.
//!
//! Three lists: what is installed into the root, what the kernel and the boot loader are unpacked from, and the tools that
//! make the image. The tools are in it because another `mkfs` writes another file system: they come from the suite of the
//! definition too, and run in a tree of their own, so that the host does not show in the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use twinhull_layout::Arch;

use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::tools::root;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// The largest package, in bytes: no package of Debian has a quarter of it.
const MAX_PACKAGE: u64 = 4 << 30;

/// Where a package is from, when it is Debian's main or security archive. Any other value is the address of a
/// `[[repository]]`.
pub(crate) const MAIN: &str = "debian";
pub(crate) const SECURITY: &str = "debian-security";

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    /// The suite that was resolved.
    pub suite: String,
    /// The architecture of the image.
    pub arch: Arch,
    /// The architecture of the hosts that its tools run on.
    pub tools_arch: Arch,
    /// The packages that the definition asked for, sorted.
    pub packages: Vec<String>,
    /// The kernel package that it asked for.
    pub kernel: String,
    /// What is installed into the root; empty when the definition has a base of its own.
    pub root: Vec<Locked>,
    /// What the kernel and the boot loader are unpacked from.
    pub boot: Vec<Locked>,
    /// What the tools are unpacked from.
    pub tools: Vec<Locked>,
}

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The archive: `debian`, `debian-security`, or the address of a repository of the definition.
    pub archive: String,
    /// Its place in the archive, as it stands in an address.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, as 64 hexadecimal digits.
    pub sha256: String,
}

impl Lock {
    /// A lock of what was resolved for `definition`. Lists are sorted, so that equal locks are equal files.
    pub(super) fn new(
        definition: &Definition,
        arch: Arch,
        tools_arch: Arch,
        [root, boot, tools]: [Vec<Locked>; 3],
    ) -> Result<Self> {
        let mut lock = Self {
            format: FORMAT,
            suite: definition.suite.clone(),
            arch,
            tools_arch,
            packages: asked(definition),
            kernel: definition.kernel_package(arch)?.to_owned(),
            root,
            boot,
            tools,
        };
        for list in [&mut lock.root, &mut lock.boot, &mut lock.tools] {
            list.sort_unstable();
        }
        Ok(lock)
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// With file and line when it is no lock file; when a hash or a path in it is none.
    pub fn read(path: &Path) -> Result<Self> {
        let lock: Self = twinhull_config::read(path)?;
        let wrong = |problem: String| Error::Definition {
            path: path.to_owned(),
            problem,
        };
        if lock.format != FORMAT {
            return Err(wrong(format!(
                "format {} is not known here; write it anew with `twinhull lock`",
                lock.format
            )));
        }
        for package in lock.all() {
            let is_hash = package.sha256.len() == 64 && package.sha256.bytes().all(|c| c.is_ascii_hexdigit());
            let leaves = package.path.starts_with('/') || package.path.split('/').any(|part| part == "..");
            let plain = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic());
            if !is_hash
                || leaves
                || package.size > MAX_PACKAGE
                || ![&package.name, &package.version, &package.archive, &package.path]
                    .into_iter()
                    .all(|text| plain(text))
            {
                return Err(wrong(format!(
                    "the entry of `{}` has no proper name, version, path, size or sha256",
                    package.name.escape_debug()
                )));
            }
        }
        Ok(lock)
    }

    /// Fails when this lock was made for something else than `definition` on this host: what it would build would not be
    /// what the definition says.
    pub(super) fn fits(&self, path: &Path, definition: &Definition, arch: Arch, host: Arch) -> Result<()> {
        let mut problems = Vec::new();
        if self.suite == definition.suite && self.arch == arch {
            let (locked, wanted): (BTreeSet<_>, BTreeSet<_>) = (
                self.packages.iter().cloned().collect(),
                asked(definition).into_iter().collect(),
            );
            for (what, names) in [
                ("new in the definition", wanted.difference(&locked)),
                ("no longer in it", locked.difference(&wanted)),
            ] {
                let names: Vec<&str> = names.map(String::as_str).collect();
                if !names.is_empty() {
                    problems.push(format!("{what}: {}", names.join(", ")));
                }
            }
            let kernel = definition.kernel_package(arch)?;
            if self.kernel != kernel {
                problems.push(format!("its kernel is {}, and the definition's {kernel}", self.kernel));
            }
        } else {
            problems.push(format!(
                "it is of {} for {}, and the image of {} for {arch}",
                self.suite, self.arch, definition.suite
            ));
        }
        let missing: Vec<&str> = (root::packages(definition).into_iter())
            .filter(|name| !self.tools.iter().any(|package| package.name == *name))
            .collect();
        if !missing.is_empty() {
            problems.push(format!(
                "its tools lack what this version of twinhull runs: {}",
                missing.join(", ")
            ));
        }
        if self.tools_arch != host {
            problems.push(format!("its tools run on {}, and this host is {host}", self.tools_arch));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Definition {
            path: path.to_owned(),
            problem: format!(
                "the lock does not fit {}: {}; write it anew with `twinhull lock {} --arch {arch}`",
                definition.path.display(),
                problems.join("; "),
                definition.path.display()
            ),
        })
    }

    /// Every package of every list.
    pub fn all(&self) -> impl Iterator<Item = &Locked> {
        self.root.iter().chain(&self.boot).chain(&self.tools)
    }

    /// The text of the file. One line for each package, so that a difference of two reads as what changed.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Written by `twinhull lock`: the packages of an image and the tools that make it, to the byte.\n",
        );
        let names: Vec<String> = self.packages.iter().map(|name| quoted(name)).collect();
        let _ = writeln!(
            text,
            "format = {}\nsuite = {}\narch = \"{}\"\ntools_arch = \"{}\"\npackages = [{}]\nkernel = {}",
            self.format,
            quoted(&self.suite),
            self.arch,
            self.tools_arch,
            names.join(", "),
            quoted(&self.kernel)
        );
        for (key, list) in [("root", &self.root), ("boot", &self.boot), ("tools", &self.tools)] {
            let _ = writeln!(text, "\n{key} = [");
            for package in list {
                let _ = writeln!(
                    text,
                    "    {{ name = {}, version = {}, archive = {}, path = {}, size = {}, sha256 = {} }},",
                    quoted(&package.name),
                    quoted(&package.version),
                    quoted(&package.archive),
                    quoted(&package.path),
                    package.size,
                    quoted(&package.sha256)
                );
            }
            text.push_str("]\n");
        }
        text
    }

    /// What is another than in `earlier`, a line for each package.
    pub fn changes(&self, earlier: &Self) -> String {
        let mut text = String::new();
        for (old, new) in [
            (&earlier.root, &self.root),
            (&earlier.boot, &self.boot),
            (&earlier.tools, &self.tools),
        ] {
            let of = |list: &[Locked]| -> BTreeMap<String, String> {
                (list.iter().map(|one| (one.name.clone(), one.version.clone()))).collect()
            };
            let (old, new) = (of(old), of(new));
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let _ = match (old.get(name), new.get(name)) {
                    (Some(was), Some(is)) if was != is => writeln!(text, "  {name} {was} -> {is}"),
                    (None, Some(is)) => writeln!(text, "  {name} {is} (new)"),
                    (Some(was), None) => writeln!(text, "  {name} {was} (gone)"),
                    _ => Ok(()),
                };
            }
        }
        text
    }
}

/// What a definition asks for by name.
fn asked(definition: &Definition) -> Vec<String> {
    let names: BTreeSet<String> = definition.packages.iter().map(ToString::to_string).collect();
    names.into_iter().collect()
}

/// A string of TOML. What enters a lock is printable ASCII, of which only two characters are special.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn package(name: &str, version: &str) -> Locked {
        Locked {
            name: name.into(),
            version: version.into(),
            archive: MAIN.into(),
            path: format!("pool/main/{name}_{version}_amd64.deb"),
            size: 1234,
            sha256: "ab".repeat(32),
        }
    }

    fn lock() -> Lock {
        Lock {
            format: FORMAT,
            suite: "trixie".into(),
            arch: Arch::X86_64,
            tools_arch: Arch::X86_64,
            packages: vec!["podman".into(), "systemd".into()],
            kernel: "linux-image-cloud-amd64".into(),
            root: vec![package("podman", "5.4.2+ds1-2"), package("systemd", "257.8-1~deb13u2")],
            boot: vec![package("linux-image-6.12", "6.12.1-1")],
            tools: vec![],
        }
    }

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.x86_64.lock");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_folder, path) = written(&lock().to_text());
        assert_eq!(Lock::read(&path).unwrap(), lock());
    }

    #[test]
    fn path_that_leaves_the_archive_and_what_is_no_hash_are_refused() {
        for (from, to) in [
            ("pool/main/podman", "../../etc/podman"),
            ("\"abab", "\"xbab"),
            ("size = 1234", "size = 99999999999999"),
        ] {
            let (_folder, path) = written(&lock().to_text().replacen(from, to, 1));
            let error = Lock::read(&path).unwrap_err().to_string();
            assert!(error.contains("podman"), "{error}");
        }
    }

    #[test]
    fn definition_that_went_on_is_told_what_is_new() {
        let (folder, path) = written(&lock().to_text());
        let file = folder.path().join("server.toml");
        std::fs::write(
            &file,
            "product = \"p\"\n[packages]\ninstall = [\"systemd\", \"nftables\"]\n[kernel]\npackage = { x86_64 = \"linux-image-cloud-amd64\" }\n",
        )
        .unwrap();
        let definition = Definition::read(&file, Arch::X86_64).unwrap();
        let error = lock()
            .fits(&path, &definition, Arch::X86_64, Arch::Aarch64)
            .unwrap_err()
            .to_string();
        for part in [
            "new in the definition: nftables",
            "no longer in it: podman",
            "its tools run on x86_64",
            "twinhull lock",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let mut same = lock();
        same.tools = (root::packages(&definition).into_iter())
            .map(|name| package(name, "1"))
            .collect();
        same.packages = vec!["nftables".into(), "systemd".into()];
        assert!(same.fits(&path, &definition, Arch::X86_64, Arch::X86_64).is_ok());
        // As one of a version that did not run it yet.
        same.tools.retain(|package| package.name != "diffutils");
        let error = same
            .fits(&path, &definition, Arch::X86_64, Arch::X86_64)
            .unwrap_err()
            .to_string();
        assert!(error.contains("runs: diffutils; write it anew"), "{error}");
    }

    #[test]
    fn changes_name_each_package_with_both_versions() {
        let mut new = lock();
        new.root = vec![package("podman", "6"), package("zstd", "1")];
        assert_eq!(
            new.changes(&lock()),
            "  podman 5.4.2+ds1-2 -> 6\n  systemd 257.8-1~deb13u2 (gone)\n  zstd 1 (new)\n"
        );
    }
}
