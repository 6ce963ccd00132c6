//! Tests that look at something with a program of others, which may not be here.

use std::fmt::Display;

/// Set where everything that tests want must be there, as after `cargo xtask setup`: then a test that cannot look fails.
const SKIP_NOTHING: &str = "TWINHULL_TESTS_SKIP_NOTHING";

/// Says that a test sees nothing because of `why`.
#[track_caller]
pub(crate) fn skip(why: impl Display) {
    assert!(
        std::env::var_os(SKIP_NOTHING).is_none(),
        "{why}, and {SKIP_NOTHING} is set: `cargo xtask setup` installs what is missing"
    );
    eprintln!("skipped: {why}");
}
