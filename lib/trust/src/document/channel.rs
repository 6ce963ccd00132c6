//! What a channel offers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use twinhull_layout::{Arch, Product, Version};
use twinhull_rollout::{Halt, Offer, Rollout};

use super::{from_bytes, to_bytes};
use crate::TrustError;

/// Which release a channel offers to hosts of a product. Signed by an online key: it can choose among releases that the
/// offline keys signed, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDocument {
    /// The product.
    pub product: Product,
    /// The channel's name: 1 to 32 of `a-z 0-9 -`.
    pub channel: String,
    /// The version offered, for each architecture.
    pub releases: BTreeMap<Arch, Version>,
    /// When it began to offer this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// In which waves hosts get it; all at once without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The version for hosts that the rollout has not reached, for each architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settled: BTreeMap<Arch, Version>,
    /// Versions that may not be skipped on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stepping_stones: Vec<Version>,
    /// Whether hosts are to stay where they are for now, whatever is offered.
    #[serde(default)]
    pub halted: bool,
    /// Since when it is halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_since: Option<Timestamp>,
    /// Why it is halted, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_because: Option<String>,
}

/// The most stepping stones of a channel.
const MAX_STONES: usize = 1000;

/// The longest reason for a halt, in characters.
const MAX_REASON: usize = 200;

/// Whether `channel` can be a channel's name: 1 to 32 of `a-z 0-9 -`, beginning with a letter or digit.
pub fn channel_name_is_valid(channel: &str) -> bool {
    // The same rule as for products, for the same reason: it stands in file names and URLs.
    channel.parse::<Product>().is_ok()
}

impl ChannelDocument {
    /// A channel that offers nothing yet.
    #[must_use]
    pub fn new(product: Product, channel: &str) -> Self {
        Self {
            product,
            channel: channel.to_owned(),
            releases: BTreeMap::new(),
            since: None,
            rollout: None,
            settled: BTreeMap::new(),
            stepping_stones: Vec::new(),
            halted: false,
            halted_since: None,
            halted_because: None,
        }
    }

    /// What it offers to hosts of `arch`, in the form that decides who gets it when.
    #[must_use]
    pub fn offer(&self, arch: Arch) -> Option<Offer<'_>> {
        Some(Offer {
            version: self.releases.get(&arch)?,
            settled: self.settled.get(&arch),
            since: self.since,
            rollout: self.rollout.as_ref(),
            stepping_stones: &self.stepping_stones,
            halt: self.halted.then_some(Halt {
                since: self.halted_since,
                reason: self.halted_because.as_deref(),
            }),
        })
    }

    /// Offers `version` to hosts of `arch` from `now` on. What it replaces stays for the hosts that the rollout has not
    /// reached, if it had reached everybody itself. A halt ends: it was about the release before.
    pub fn roll_out(&mut self, arch: Arch, version: Version, rollout: Option<Rollout>, now: Timestamp) {
        if let Some(before) = self.releases.get(&arch).filter(|before| **before != version)
            && self.has_reached_everybody(now)
        {
            self.settled.insert(arch, before.clone());
        }
        self.releases.insert(arch, version);
        self.rollout = rollout;
        self.since = Some(now);
        (self.halted, self.halted_since, self.halted_because) = (false, None, None);
    }

    fn has_reached_everybody(&self, now: Timestamp) -> bool {
        let (Some(rollout), Some(since)) = (&self.rollout, self.since) else {
            return !self.halted;
        };
        let elapsed = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
        let whole = u64::from(twinhull_rollout::WHOLE);
        !self.halted && rollout.reached(elapsed, whole) == whole
    }

    /// Stops everybody where they are.
    pub fn halt(&mut self, reason: Option<String>, now: Timestamp) {
        if !self.halted {
            self.halted_since = Some(now);
        }
        self.halted = true;
        self.halted_because = reason;
    }

    /// Goes on where it was halted: what is left of the waves comes later by as long as the halt was, so that they do not
    /// all open at once.
    pub fn resume(&mut self, now: Timestamp) {
        if let (true, Some(halted), Some(since)) = (self.halted, self.halted_since, self.since) {
            let pause = now.duration_since(halted.max(since)).max(SignedDuration::ZERO);
            self.since = Some(since.saturating_add(pause).unwrap_or(since));
        }
        (self.halted, self.halted_since, self.halted_because) = (false, None, None);
    }

    /// The bytes to sign: the same for the same content.
    ///
    /// # Errors
    /// [`TrustError::Document`] if the name is not a channel's.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrustError> {
        let refused = |why| TrustError::Document {
            name: super::channel_target(&self.product, &self.channel),
            why,
        };
        self.check().map_err(refused)?;
        to_bytes(self).map_err(refused)
    }

    /// Reads the document that the target `name` holds, which must be the one of `product` and `channel`.
    ///
    /// # Errors
    /// [`TrustError::Document`], [`TrustError::WrongProduct`], [`TrustError::WrongChannel`].
    pub fn from_bytes(bytes: &[u8], name: &str, product: &Product, channel: &str) -> Result<Self, TrustError> {
        let document: Self = from_bytes(name, bytes)?;
        if document.product != *product {
            let (expected, found) = (product.clone(), document.product);
            return Err(TrustError::WrongProduct {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        document.check().map_err(|why| TrustError::Document {
            name: name.to_owned(),
            why,
        })?;
        if document.channel != channel {
            let (expected, found) = (channel.to_owned(), document.channel);
            return Err(TrustError::WrongChannel {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        Ok(document)
    }

    fn check(&self) -> Result<(), String> {
        if !channel_name_is_valid(&self.channel) {
            let name = crate::name::shorten(&self.channel);
            return Err(format!("`{name}` is not a channel name"));
        }
        if let Some(rollout) = &self.rollout {
            rollout.check().map_err(|error| error.to_string())?;
            if self.since.is_none() {
                return Err("it has a rollout that never began: `since` is missing".to_owned());
            }
        }
        if self.stepping_stones.len() > MAX_STONES {
            return Err(format!("it has more than {MAX_STONES} stepping stones"));
        }
        let reason = self.halted_because.as_deref().unwrap_or_default();
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(format!(
                "the reason of its halt is no line of at most {MAX_REASON} characters"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3600 * hours).unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn pause_is_added_to_what_is_left_of_the_waves() {
        let mut channel = ChannelDocument::new("p".parse().unwrap(), "stable");
        channel.roll_out(Arch::X86_64, version("2.0"), twinhull_rollout::preset("default"), at(0));
        channel.halt(Some("rolled back".to_owned()), at(5));
        channel.halt(Some("still".to_owned()), at(6));
        assert!(channel.offer(Arch::X86_64).unwrap().halt.is_some());
        channel.resume(at(50));
        assert_eq!(channel.since, Some(at(45)));
        assert!(!channel.halted);
    }

    #[test]
    fn only_what_reached_everybody_is_left_to_those_who_wait() {
        let mut channel = ChannelDocument::new("p".parse().unwrap(), "stable");
        channel.roll_out(Arch::X86_64, version("1.0"), None, at(0));
        channel.roll_out(Arch::X86_64, version("2.0"), twinhull_rollout::preset("default"), at(1));
        assert_eq!(channel.settled[&Arch::X86_64], version("1.0"));
        // 2.0 had reached a part of the hosts only.
        channel.roll_out(Arch::X86_64, version("3.0"), twinhull_rollout::preset("fast"), at(5));
        assert_eq!(channel.settled[&Arch::X86_64], version("1.0"));
        channel.roll_out(Arch::X86_64, version("4.0"), None, at(50));
        assert_eq!(channel.settled[&Arch::X86_64], version("3.0"));
    }
}
