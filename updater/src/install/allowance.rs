//! How much may come over the network for one release: never silently a whole image where a delta was expected.

use super::InstallError;

/// The bound, and what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxFetch {
    /// Bytes of payloads for one release; no bound if absent.
    pub bytes: Option<u64>,
    /// Whether an install that needs more goes on, with a warning, or fails.
    pub go_on: bool,
}

/// What one install has asked for so far.
#[derive(Debug)]
pub(super) struct Allowance {
    max: MaxFetch,
    asked: u64,
    warned: bool,
}

impl Allowance {
    pub(super) fn new(max: MaxFetch) -> Self {
        Self {
            max,
            asked: 0,
            warned: false,
        }
    }

    /// Before `bytes` more of `what` are asked for. What a lost connection makes come twice does not count: it is less than
    /// a segment each time.
    ///
    /// # Errors
    /// [`InstallError::MaxFetch`] if that passes the bound and the install is not to go on.
    pub(super) fn ask(&mut self, bytes: u64, what: &str) -> Result<(), InstallError> {
        self.asked = self.asked.saturating_add(bytes);
        let Some(limit) = self.max.bytes.filter(|limit| self.asked > *limit) else {
            return Ok(());
        };
        if !self.max.go_on {
            return Err(InstallError::MaxFetch {
                what: what.to_owned(),
                needed: self.asked,
                limit,
            });
        }
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "{what}: this release needs {} bytes, more than the {limit} of updates.max_fetch_mib; going on as configured",
                self.asked
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_counts_and_the_bound_itself_is_allowed() {
        let mut allowance = Allowance::new(MaxFetch {
            bytes: Some(100),
            go_on: false,
        });
        allowance.ask(60, "a").unwrap();
        allowance.ask(40, "b").unwrap();
        assert_eq!(allowance.ask(1, "c").unwrap_err().code(), "max-fetch");
    }

    #[test]
    fn no_bound_and_going_on_never_fail() {
        for max in [
            MaxFetch::default(),
            MaxFetch {
                bytes: Some(1),
                go_on: true,
            },
        ] {
            let mut allowance = Allowance::new(max);
            allowance.ask(u64::MAX, "a").unwrap();
            allowance.ask(u64::MAX, "b").unwrap();
        }
    }
}
