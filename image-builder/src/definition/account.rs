//! The accounts of a definition as sysusers.d(5).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::fragment::{Group, User};

/// The first number that is no system account's (login.defs(5), `SYS_UID_MAX`).
const FIRST_PERSON: u32 = 1000;

/// The lines for `users` and `groups`; nothing when there are none. The error says what is wrong with which account.
pub(super) fn sysusers(users: &BTreeMap<String, User>, groups: &BTreeMap<String, Group>) -> Result<String, String> {
    let mut text = String::new();
    for (name, group) in groups {
        check_name(name)?;
        let _ = writeln!(text, "g {name} {}", number(name, group.id)?);
    }
    for (name, user) in users {
        check_name(name)?;
        let comment = user.comment.as_deref().unwrap_or_default();
        if comment.contains(|c: char| c.is_control() || "\":\\%".contains(c)) {
            return Err(format!("the comment of {name} must be plain text without \" : \\ %"));
        }
        let _ = writeln!(
            text,
            "u {name} {} \"{comment}\" {} {}",
            number(name, user.id)?,
            place(name, user.home.as_ref())?,
            place(name, user.shell.as_ref())?
        );
        for group in &user.groups {
            check_name(group)?;
            let _ = writeln!(text, "m {name} {group}");
        }
    }
    Ok(text)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.len() <= 31
        && (name.chars()).all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is no name of an account: up to 31 of a-z 0-9 _ -, a letter first"
        ))
    }
}

fn number(name: &str, id: Option<u32>) -> Result<String, String> {
    match id {
        Some(id) if id >= FIRST_PERSON => Err(format!(
            "the number {id} of {name} is a person's; those of the system are below {FIRST_PERSON}"
        )),
        Some(id) => Ok(id.to_string()),
        None => Ok("-".into()),
    }
}

fn place(name: &str, path: Option<&PathBuf>) -> Result<String, String> {
    let Some(path) = path else { return Ok("-".into()) };
    let text = path.to_string_lossy();
    if !path.is_absolute() || text.contains(|c: char| c.is_whitespace() || "\"':\\%".contains(c)) {
        return Err(format!("`{text}` of {name} must be an absolute path without blanks"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_become_lines() {
        let users = BTreeMap::from([(
            "app".to_owned(),
            User {
                id: Some(700),
                comment: Some("The app".into()),
                groups: vec!["data".into()],
                ..User::default()
            },
        )]);
        let groups = BTreeMap::from([("data".to_owned(), Group { id: None })]);
        assert_eq!(
            sysusers(&users, &groups).unwrap(),
            "g data -\nu app 700 \"The app\" - -\nm app data\n"
        );
    }

    #[test]
    fn nothing_of_an_account_can_become_another_line() {
        let with = |name: &str, user: User| sysusers(&BTreeMap::from([(name.to_owned(), user)]), &BTreeMap::new());
        for user in [
            User {
                comment: Some("x\nu evil 0".into()),
                ..User::default()
            },
            User {
                home: Some("/a b".into()),
                ..User::default()
            },
            User {
                shell: Some("sh".into()),
                ..User::default()
            },
            User {
                groups: vec!["a b".into()],
                ..User::default()
            },
            User {
                id: Some(1000),
                ..User::default()
            },
        ] {
            assert!(with("app", user.clone()).is_err(), "{user:?}");
        }
        assert!(with("App x", User::default()).is_err());
    }
}
