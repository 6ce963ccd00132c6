//! Which units start by themselves: what the definition enables and systemd's own presets, nothing else.

use std::fmt::Write as _;
use std::path::Path;

use super::files::{link, write};
use crate::build::Context;
use crate::definition::Definition;
use crate::definition::unit::Unit;
use crate::error::{Error, Result};
use crate::tools::systemd;

/// Units that would write at boot what an immutable image brings: into `/etc`, where it would hide what later releases
/// bring, or into places that are read-only.
const MASKED: [(&str, &str); 5] = [
    ("ldconfig.service", "the cache of libraries is in the image"),
    ("systemd-hwdb-update.service", "so is the hardware database"),
    ("systemd-journal-catalog-update.service", "so is the message catalogue"),
    ("systemd-update-done.service", "nothing waits for the marks it leaves"),
    (
        "systemd-boot-update.service",
        "the boot loader is updated with care, not at every boot",
    ),
];

/// The preset file made from the definition. Its number puts it before those of packages: the first line that matches wins.
const OURS: &str = "/usr/lib/systemd/system-preset/00-twinhull-image.preset";

/// The preset file that comes after all others.
const REST: &str = "/usr/lib/systemd/system-preset/99-twinhull-rest.preset";

/// Enables and masks units in `tree`.
pub(super) fn run(context: &Context<'_>, tree: &Path) -> Result<()> {
    let definition = context.definition;
    are_there(definition, tree)?;
    write(tree, OURS, presets(definition), 0o644)?;
    write(
        tree,
        REST,
        "# What is not enabled by an earlier file stays off: installing a package must not start it.\ndisable *\n",
        0o644,
    )?;
    // What is not there needs no link, and a link makes it look as if it were.
    let masked = (definition.mask.iter())
        .filter(|unit| systemd::unit_exists(tree, &unit.name))
        .map(|unit| unit.name.as_str());
    for unit in MASKED.iter().map(|(unit, _)| *unit).chain(masked) {
        link(tree, &format!("/etc/systemd/system/{unit}"), "/dev/null")?;
    }
    systemd::preset_all(&context.log, tree)
}

/// Fails when a unit that the definition names is not in `tree`.
fn are_there(definition: &Definition, tree: &Path) -> Result<()> {
    let is_absent = |unit: &&Unit| !unit.may_be_absent && !systemd::unit_exists(tree, &unit.name);
    let of_presets = definition.enable.iter().chain(&definition.disable);
    let plain = of_presets.filter(|unit| !unit.name.contains(['*', '?', '[']));
    // A link is made for each that is masked, so patterns mean nothing there; and the unit that was meant would still start.
    match plain.chain(&definition.mask).find(is_absent) {
        None => Ok(()),
        Some(unit) => Err(Error::Definition {
            path: definition.path.clone(),
            problem: format!(
                "[units] names {0}, which no package or overlay of the image brings; write `-{0}` if the image is as good without it",
                unit.name
            ),
        }),
    }
}

fn names(units: &[Unit]) -> impl Iterator<Item = &str> {
    units.iter().map(|unit| unit.name.as_str())
}

/// The text of the preset file.
fn presets(definition: &Definition) -> String {
    let mut text = String::from("# Made from the image's definition.\n");
    // What is masked is disabled as well: a preset of systemd's own would try to enable it.
    let masked = MASKED.iter().map(|(unit, _)| *unit).chain(names(&definition.mask));
    for (verb, units) in [
        ("enable", names(&definition.enable).collect::<Vec<_>>()),
        ("disable", names(&definition.disable).chain(masked).collect()),
    ] {
        for unit in units {
            // An instance is enabled by its template's name with the instance behind it.
            let line = match unit
                .split_once('@')
                .and_then(|(name, rest)| rest.rsplit_once('.').map(|(instance, kind)| (name, instance, kind)))
            {
                Some((name, instance, kind)) if !instance.is_empty() => format!("{verb} {name}@.{kind} {instance}"),
                _ => format!("{verb} {unit}"),
            };
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_unit_is_refused_whatever_is_to_become_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("usr/lib/systemd/system")).unwrap();
        for unit in ["a.service", "b@.service"] {
            std::fs::write(tree.join("usr/lib/systemd/system").join(unit), "").unwrap();
        }
        let path = folder.path().join("a.toml");
        let check = |key: &str, unit: &str| {
            std::fs::write(&path, format!("product = \"p\"\n[units]\n{key} = [\"{unit}\"]\n")).unwrap();
            are_there(&Definition::read(&path, twinhull_layout::Arch::X86_64).unwrap(), &tree)
        };
        for key in ["enable", "disable", "mask"] {
            for unit in ["a.service", "b@x.service"] {
                check(key, unit).unwrap();
            }
            let said = check(key, "aa.service").unwrap_err().to_string();
            assert!(said.contains("[units] names aa.service"), "{said}");
            check(key, "-aa.service").unwrap();
        }
        check("disable", "aa*").unwrap();
        assert!(check("mask", "a*").is_err());
    }

    #[test]
    fn instances_are_written_as_presets_want_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "product = \"p\"\n[units]\nenable = [\"ssh.service\", \"getty@tty1.service\"]\ndisable = [\"x@.service\"]\n").unwrap();
        let definition = Definition::read(&path, twinhull_layout::Arch::X86_64).unwrap();
        let text = presets(&definition);
        for line in [
            "enable ssh.service",
            "enable getty@.service tty1",
            "disable x@.service",
            "disable ldconfig.service",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
