//! The SBAT section: names and generations of the components, by which a boot loader is revoked.

/// The line that opens every SBAT text and names the format itself.
const FORMAT: &str = "sbat,";

/// The stub's SBAT lines followed by those of `ours` that it does not have. The line on the format stays
/// single: it is not repeated when `ours` starts with it, as a text of its own does.
pub(crate) fn merge(stub: &str, ours: &str) -> String {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end_matches('\0')
            .lines()
            .map(str::trim_end)
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut merged = lines(stub);
    for line in lines(ours) {
        let second_format_line = line.starts_with(FORMAT) && merged.iter().any(|have| have.starts_with(FORMAT));
        if !second_format_line && !merged.contains(&line) {
            merged.push(line);
        }
    }
    merged.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn format_line_stays_single() {
        let merged = merge(
            "sbat,1,SBAT Version\nstub,1,Stub\n",
            "sbat,1,Other wording\nours,2,Ours\n",
        );
        assert_eq!(merged, "sbat,1,SBAT Version\nstub,1,Stub\nours,2,Ours\n");
    }

    #[test]
    fn line_that_the_stub_has_is_not_repeated() {
        assert_eq!(merge("sbat,1,x\na,1\n\0\0", "a,1\n"), "sbat,1,x\na,1\n");
    }
}
