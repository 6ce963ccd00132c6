//! `docs/threat-model.md` names tests; they must be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for block in text.split("#[test]").skip(1) {
                let name = block.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                found.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut known = BTreeSet::new();
    for folder in ["lib/trust", "updater/tests", "image-builder/tests"] {
        tests_in(&top.join(folder), &mut known);
    }
    let text = fs::read_to_string(top.join("docs/threat-model.md")).unwrap();
    let mut named = 0;
    let is_claim = |line: &&str| line.starts_with("| ") && !line.starts_with("| he | test |");
    for line in text.lines().filter(is_claim) {
        let tests: Vec<&str> = line.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test shows: {line}");
        for name in tests {
            assert!(known.contains(name), "{name} is not a test: {line}");
            named += 1;
        }
    }
    assert!(named > 60, "{named} tests are named");
}
