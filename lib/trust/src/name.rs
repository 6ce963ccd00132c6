//! Names from signed metadata that become paths: refused when they climb out, quoted when they are odd.

use std::fmt::Write;

use crate::TrustError;

/// The longest target name, in bytes.
const MAX_TARGET_NAME: usize = 1024;

/// The longest quoted role name, in bytes, such that it and `.json` fit a file name.
const MAX_QUOTED_ROLE: usize = 200;

/// The path of a target as it stands in a URL.
///
/// # Errors
/// The name is empty, absolute, too long, or has an empty, `.` or `..` component, a backslash or a control character. Such
/// a name could mean a file outside of the repository or of the folder a target is stored in.
pub(crate) fn target_path(name: &str) -> Result<String, TrustError> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let odd = |character: char| character == '\\' || character.is_control();
    if name.len() > MAX_TARGET_NAME || !name.split('/').all(plain) || name.contains(odd) {
        return Err(TrustError::UnsafeName { name: shorten(name) });
    }
    Ok(quote(name, true))
}

/// The name of a role as it stands in a URL and in a file name: everything but letters, digits and `-._~` quoted.
///
/// # Errors
/// The name is empty or too long.
pub(crate) fn role_file(role: &str) -> Result<String, TrustError> {
    let quoted = quote(role, false);
    if role.is_empty() || quoted.len() > MAX_QUOTED_ROLE {
        return Err(TrustError::UnsafeName { name: shorten(role) });
    }
    Ok(quoted)
}

fn quote(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let kept = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/');
        if kept {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// At most 80 characters of a name from outside, for a message.
pub(crate) fn shorten(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbing_names_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/.",
            "a/",
            "a\\b",
            "a\nb",
            "a\0b",
            &"x".repeat(1025),
        ] {
            assert!(target_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(target_path("a b/c%2e#?.json").unwrap(), "a%20b/c%252e%23%3F.json");
        assert_eq!(role_file("../x/ö").unwrap(), "..%2Fx%2F%C3%B6");
    }
}
