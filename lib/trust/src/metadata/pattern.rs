//! Path patterns of delegations: shell patterns in which no wildcard crosses a `/` (TUF 1.0.x section 4.5, PATHPATTERN).

/// Whether `name` is of the form `pattern`: `*` stands for any characters, `?` for one, never for `/`. Everything else
/// stands for itself.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut names = name.split('/');
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if component_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// Matches within one component, in time at most the product of both lengths: a pattern of many stars costs no more.
fn component_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut position) = (0, 0);
    let mut last_star = None;
    while position < name.len() {
        match pattern.get(at) {
            Some('*') => {
                last_star = Some((at, position));
                at += 1;
            }
            Some('?') => {
                at += 1;
                position += 1;
            }
            Some(literal) if *literal == name[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                // Let the last star take one character more, and go on behind it.
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                at = star + 1;
                position = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    /// What the patterns mean, said in the plainest way.
    fn meaning(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => meaning(rest, name),
            (Some((b'*', rest)), Some((next, left))) => {
                meaning(rest, name) || (*next != b'/' && meaning(pattern, left))
            }
            (Some((b'?', rest)), Some((next, left))) => *next != b'/' && meaning(rest, left),
            (Some((literal, rest)), Some((next, left))) => literal == next && meaning(rest, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn backtracking_gives_what_the_pattern_means(pattern in "[ab/*?]{0,9}", name in "[ab/]{0,9}") {
            prop_assert_eq!(matches(&pattern, &name), meaning(pattern.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn wildcards_stay_within_a_component() {
        for (pattern, name) in [
            ("targets/*.tgz", "targets/foo.tgz"),
            ("foo-version-?.tgz", "foo-version-a.tgz"),
            ("*.tgz", "bar.tgz"),
            ("foo.tgz", "foo.tgz"),
            ("releases/*/*/*.json", "releases/p/x86_64/1.0.json"),
            ("a*b*c", "a-b-b-c"),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("targets/*.tgz", "targets/foo.txt"),
            ("foo-version-?.tgz", "foo-version-alpha.tgz"),
            ("*.tgz", "targets/foo.tgz"),
            ("*", "a/b"),
            ("a?b", "a/b"),
            ("releases/*/*/*.json", "releases/p/1.0.json"),
            ("a*b*c", "a-b-b-"),
            ("foo.tgz", "fooxtgz"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }
}
