//! Shell patterns, as `modules.alias` has them.

/// Whether `text` matches `pattern` as a whole: `*` any run, `?` any byte, `[abc]`, `[a-z]` and `[!a]` one byte of
/// a set, all else itself (`fnmatch(3)` without flags). Time is at most the product of the lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a literal fails: behind the last star, one byte later in the text. An earlier star
    // never has to be taken up again, so there is no nesting.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some(length) = one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, t) = (star, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes at the start of `pattern` match the single byte `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(&pattern[1..], byte) {
            Some((length, true)) => Some(length + 1),
            Some((_, false)) => None,
            // A set that is not closed is a plain bracket.
            None => (byte == b'[').then_some(1),
        },
        literal => (*literal == byte).then_some(1),
    }
}

/// The length of the set up to and with its `]`, and whether it has `byte`.
fn set(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = pattern.first().is_some_and(|first| matches!(first, b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut found = false;
    loop {
        let low = *pattern.get(at)?;
        // The first place of a set holds a member even when it is the bracket.
        if low == b']' && at > start {
            return Some((at + 1, found != negated));
        }
        let high = match pattern.get(at + 1..at + 3) {
            Some(&[b'-', high]) if high != b']' => high,
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        at += if high == low { 1 } else { 3 };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn patterns_of_a_real_kernel() {
        let virtio = "virtio:d00000002v00001AF4";
        assert!(matches("virtio:d00000002v*", virtio));
        assert!(!matches("virtio:d00000001v*", virtio));
        let nvme = "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02";
        assert!(matches("pci:v*d*sv*sd*bc01sc08i02*", nvme));
        assert!(!matches("pci:v*d*sv*sd*bc01sc06i01*", nvme));
        let cpu = "cpu:type:x86,ven0002fam0019mod0001:feature:,0000,0081,00A3,";
        assert!(matches("cpu:type:x86,ven*fam*mod*:feature:*0081*", cpu));
        assert!(!matches("cpu:type:x86,ven*fam*mod*:feature:*0082*", cpu));
    }

    #[test]
    fn sets_hold_ranges_brackets_and_negation() {
        assert!(matches("usb:d[0-9]x", "usb:d7x"));
        assert!(!matches("usb:d[0-9]x", "usb:dAx"));
        assert!(matches("d[0-24-6]", "d5") && !matches("d[0-24-6]", "d3"));
        assert!(matches("[!a-c]", "d") && !matches("[!a-c]", "b"));
        assert!(matches("[]a]", "]") && matches("[a-]", "-"));
        assert!(matches("a[b", "a[b"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(60);
        assert!(!matches(&pattern, &"ab".repeat(59)));
        assert!(!matches(&(pattern + "b"), &"a".repeat(4000)));
    }

    /// The definition, which takes exponential time.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| defined(rest, &text[skip..])),
            Some((b'?', rest)) => !text.is_empty() && defined(rest, &text[1..]),
            Some((byte, rest)) => text.first() == Some(byte) && defined(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn answer_is_that_of_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_bytes_give_an_answer(pattern in ".{0,20}", text in ".{0,20}") {
            let _ = matches(&pattern, &text);
        }
    }
}
