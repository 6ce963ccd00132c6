//! System users: the image's accounts as sysusers.d, with fixed numbers.
//!
//! A host whose `/etc/passwd` was changed no longer sees the image's: its own copy lies over it. So the accounts of the
//! image are asked for at every boot, by the numbers that files of the image are owned by.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::files::{link, list, read, write};
use crate::build::Context;
use crate::error::Result;
use crate::tools::systemd;

/// The file with the image's accounts.
const OURS: &str = "twinhull-image.conf";

/// The file with the accounts that the definition asks for; what was made of them ends in the other, with numbers.
const DEFINED: &str = "/usr/lib/sysusers.d/00-twinhull-definition.conf";

/// Without its condition, the unit creates missing users at every boot instead of after a change of `/usr` that it
/// recognises by time stamps, which are all alike here.
const EVERY_BOOT: &str = "# Every boot, not only after an update noticed by time stamps: those of the image never change.\n[Unit]\nConditionNeedsUpdate=\n";

/// Writes the accounts of `tree` as sysusers.d.
pub(super) fn run(context: &Context<'_>, tree: &Path) -> Result<()> {
    if !context.definition.accounts.is_empty() {
        write(tree, DEFINED, &context.definition.accounts, 0o644)?;
    }
    systemd::sysusers(&context.log, tree)?;
    for left_over in ["passwd-", "group-", "shadow-", "gshadow-", ".pwd.lock"] {
        super::files::remove(&tree.join("etc").join(left_over))?;
    }
    let text = sysusers(&read(&tree.join("etc/passwd"))?, &read(&tree.join("etc/group"))?);
    // Every account is in our file now, with its number. The packages' own files would say the same again without one,
    // and systemd would warn of each at each boot.
    for path in list(&tree.join("usr/lib/sysusers.d"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        link(tree, &format!("/etc/sysusers.d/{name}"), "/dev/null")?;
    }
    write(tree, &format!("/usr/lib/sysusers.d/{OURS}"), text, 0o644)?;
    write(
        tree,
        "/usr/lib/systemd/system/systemd-sysusers.service.d/10-every-boot.conf",
        EVERY_BOOT,
        0o644,
    )
}

/// sysusers.d(5) lines for the accounts of a passwd(5) and a group(5) file.
fn sysusers(passwd: &str, group: &str) -> String {
    let groups: Vec<Vec<&str>> = group
        .lines()
        .map(|line| line.split(':').collect())
        .filter(|fields: &Vec<&str>| fields.len() >= 4)
        .collect();
    let by_number: BTreeMap<&str, &str> = groups.iter().rev().map(|fields| (fields[2], fields[0])).collect();
    let mut text = String::from("# The accounts of the image, with the numbers its files are owned by.\n");
    for fields in &groups {
        let _ = writeln!(text, "g {} {}", fields[0], fields[2]);
    }
    for fields in passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 7)
    {
        let (name, number, group) = (fields[0], fields[2], fields[3]);
        let group = by_number.get(group).copied().unwrap_or(group);
        let _ = writeln!(
            text,
            "u {name} {number}:{group} {} {} {}",
            quoted(fields[4]),
            quoted(fields[5]),
            quoted(fields[6])
        );
    }
    for fields in &groups {
        for member in fields[3].split(',').filter(|member| !member.is_empty()) {
            let _ = writeln!(text, "m {member} {}", fields[0]);
        }
    }
    text
}

/// A field of sysusers.d: `-` when empty, in quotes when it has blanks.
fn quoted(field: &str) -> String {
    if field.is_empty() {
        "-".into()
    } else if field.contains(|c: char| c.is_whitespace() || "\"'\\%".contains(c)) {
        format!(
            "\"{}\"",
            field.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
        )
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_members_are_kept() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nsshd:x:989:65534:sshd user:/run/sshd:/usr/sbin/nologin\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n";
        let group = "root:x:0:\nnogroup:x:65534:\nadm:x:4:sshd,root\n";
        assert_eq!(
            sysusers(passwd, group),
            "# The accounts of the image, with the numbers its files are owned by.\n\
             g root 0\ng nogroup 65534\ng adm 4\n\
             u root 0:root root /root /bin/bash\n\
             u sshd 989:nogroup \"sshd user\" /run/sshd /usr/sbin/nologin\n\
             u _apt 42:nogroup - /nonexistent /usr/sbin/nologin\n\
             m sshd adm\nm root adm\n"
        );
    }

    #[test]
    fn specifiers_and_quotes_in_a_comment_stay_text() {
        assert_eq!(quoted("50% \"x\""), "\"50%% \\\"x\\\"\"");
    }
}
