//! `docs/operations.md` knows every code, phase and message id that the source has.

// Without its files the test has nothing to say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What comes right before a code.
const BEFORE: [&str; 7] = [
    "Problem::new(",
    "Closed::new(",
    ".wait(",
    "refused(",
    "fault(",
    "StatusCode::BAD_REQUEST,",
    "StatusCode::CONFLICT,",
];

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap()
}

/// All source files, without their tests.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if !name.ends_with("tests.rs") && name != "diagram.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.push(code.to_owned());
        }
    }
}

fn source() -> Vec<String> {
    let mut found = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    found
}

/// The string literal that `text` begins with, if it is a kebab-case word.
fn word(text: &str) -> Option<&str> {
    let inside = text.trim_start().strip_prefix('"')?;
    let word = &inside[..inside.find('"')?];
    let kebab = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    (!word.is_empty() && word.bytes().all(kebab)).then_some(word)
}

fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for text in source() {
        let mut take = |before: &str| {
            let found = text
                .match_indices(before)
                .filter_map(|(at, _)| word(&text[at + before.len()..]));
            codes.extend(found.map(str::to_owned));
        };
        for before in BEFORE {
            take(before);
        }
        // Where errors are given their codes.
        if text.contains("fn code(") || text.contains("let code = match") {
            take("=> ");
        }
        take("code: ");
    }
    codes
}

#[test]
fn every_code_in_the_source_is_in_the_page() {
    let (page, codes) = (page(), codes());
    for known in ["window", "lock-held", "read-back", "not-healthy", "bad-channel", "busy"] {
        assert!(
            codes.contains(known),
            "the search has gone blind: {known} not in {codes:?}"
        );
    }
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !page.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

#[test]
fn every_phase_and_message_id_is_in_the_page() {
    use twinhull_updater::agent::announce;
    let page = page();
    for phase in ["idle", "trial", "installing", "staged", "rebooting", "rollback-pending"] {
        assert!(page.contains(&format!("| `{phase}` |")), "{phase}");
    }
    for id in [
        announce::INSTALLED,
        announce::REFUSED,
        announce::UPDATED,
        announce::FAILED,
        announce::DISCARDED,
        announce::ROLLED_BACK,
        announce::WAITING,
    ] {
        assert!(page.contains(id), "{id}");
    }
}

#[test]
fn every_metric_that_the_page_names_is_served() {
    let source = source().concat();
    for (at, _) in page().match_indices("twinhull_updater_") {
        let page = page();
        let name: String = page[at + "twinhull_updater_".len()..]
            .chars()
            .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
            .collect();
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
}
