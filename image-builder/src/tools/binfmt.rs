//! The kernel's register of foreign programs (`binfmt_misc`): how programs of another architecture run on this host.
//!
//! Packages are installed by their own scripts, with programs of the image. Where those are for another processor, QEMU's
//! user-mode emulator runs them. Its package says how in `/usr/lib/binfmt.d`, and systemd-binfmt tells the kernel at boot;
//! hosts without it, containers and minimal machines among them, are told here.

use std::fs;
use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use super::{Log, command};
use crate::error::{Doing, Error, Result};

/// The package with the emulators and their rules.
const PACKAGE: &str = "qemu-user-static";

/// Where the kernel's register is.
const REGISTER: &str = "/proc/sys/fs/binfmt_misc";

/// The program that `arch` needs on this host, with its package: for [`crate::preflight::tools`]. Nothing for the host's own
/// architecture, and nothing where the kernel knows already.
pub fn needs(arch: Arch) -> Option<(&'static str, &'static str)> {
    if arch == Arch::host() || registered(Path::new(REGISTER), arch) {
        return None;
    }
    Some((rule(arch), PACKAGE))
}

/// Has the kernel run programs of `arch`, until the host is rebooted. Says what was done, if anything.
///
/// # Errors
/// When the kernel has no such register, a rule of somebody else is in the way, or the emulator is not there.
pub fn prepare(log: &Log, arch: Arch) -> Result<Option<String>> {
    let register = Path::new(REGISTER);
    if arch == Arch::host() || registered(register, arch) {
        return Ok(None);
    }
    let new = register.join("register");
    if !new.exists() {
        let mut mount = command("mount");
        mount.args(["-t", "binfmt_misc", "binfmt_misc"]).arg(register);
        log.run("mounting the kernel's register of foreign programs", &mut mount)?;
        if registered(register, arch) {
            return Ok(None);
        }
    }
    let rule = PathBuf::from(rule(arch));
    let text = fs::read_to_string(&rule).doing("read the rule", &rule)?;
    for line in text.lines().filter(|line| line.starts_with(':')) {
        let name = line.split(':').nth(1).unwrap_or_default();
        if register.join(name).exists() {
            return Err(Error::Content(format!(
                "{REGISTER}/{name} does not serve programs in a tree of their own (it is disabled, or lacks the flag F); \
                 remove it with `echo -1 > {REGISTER}/{name}` and build again"
            )));
        }
        fs::write(&new, line).doing("register the emulator in", &new)?;
    }
    Ok(Some(format!(
        "the kernel now runs programs for {arch} with QEMU, until the next reboot ({})",
        rule.display()
    )))
}

/// The file with the rule for `arch`.
const fn rule(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "/usr/lib/binfmt.d/qemu-x86_64.conf",
        Arch::Aarch64 => "/usr/lib/binfmt.d/qemu-aarch64.conf",
    }
}

/// Whether the register at `register` has an entry for programs of `arch` that also serves programs in a tree of their own:
/// one whose emulator the kernel holds open (flag F), since the tree has none.
fn registered(register: &Path, arch: Arch) -> bool {
    let Ok(entries) = fs::read_dir(register) else {
        return false;
    };
    entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|entry| serves(&entry, arch))
}

/// Whether this entry does, as the kernel shows it.
fn serves(entry: &str, arch: Arch) -> bool {
    // A 64-bit little-endian ELF file, and the machine (`e_machine`) at offset 18.
    let machine = match arch {
        Arch::X86_64 => "3e00",
        Arch::Aarch64 => "b700",
    };
    let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    entry.lines().next() == Some("enabled")
        && field("flags:").is_some_and(|flags| flags.contains('F'))
        && field("magic ").is_some_and(|magic| magic.starts_with("7f454c460201") && magic.get(36..40) == Some(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_entry_serves_its_own_architecture() {
        assert!(serves(ENTRY, Arch::Aarch64));
        assert!(!serves(ENTRY, Arch::X86_64));
    }

    #[test]
    fn an_entry_that_is_off_or_needs_the_emulator_in_the_tree_does_not_serve() {
        assert!(!serves(&ENTRY.replace("enabled", "disabled"), Arch::Aarch64));
        assert!(!serves(&ENTRY.replace("POF", "PO"), Arch::Aarch64));
        assert!(!serves("", Arch::Aarch64));
    }

    #[test]
    fn programs_of_this_host_need_nothing() {
        assert_eq!(needs(Arch::host()), None);
    }
}
