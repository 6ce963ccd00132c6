//! Patterns of paths: `*` matches any text, `/` included, as in dpkg's own path patterns.

/// Whether `path` matches `pattern`.
pub fn matches(pattern: &str, path: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    // The leftmost place of each piece leaves the most room for those behind it.
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_across_folders_and_nothing_else_does() {
        assert!(matches(
            "/usr/lib/modules/*/kernel/sound",
            "/usr/lib/modules/6.12/kernel/sound"
        ));
        assert!(matches("/usr/share/locale/*", "/usr/share/locale/de/LC_MESSAGES/x.mo"));
        assert!(matches("/a*b*b", "/axbyb"));
        assert!(!matches("/a*b*b", "/ab"));
        assert!(!matches("/usr/share/doc", "/usr/share/docs"));
        assert!(!matches("/usr/share/doc*x", "/usr/share/do"));
    }
}
