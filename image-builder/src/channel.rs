//! Who gets which release: `twinhull channel`.

use std::path::Path;

use jiff::Timestamp;
use twinhull_layout::{Arch, Product, Version};
use twinhull_trust::{ChannelDocument, Keyring, Repository, channel_name_is_valid};

use crate::error::{Error, Result};
use crate::publish::trust;
use crate::rollout;

/// The channel of a product in a repository.
#[derive(Debug, Clone)]
pub struct Place {
    /// The repository.
    pub repository: std::path::PathBuf,
    /// The product.
    pub product: Product,
    /// The channel.
    pub channel: String,
}

/// What to offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The release.
    pub version: Version,
    /// The architectures; all that the release was published for if none is given.
    pub archs: Vec<Arch>,
    /// A preset or a file with waves; everybody at once without.
    pub rollout: Option<String>,
    /// Versions that may not be skipped, beside those that the channel has.
    pub stepping_stones: Vec<Version>,
}

/// Offers a release from now on.
///
/// # Errors
/// The release is not published; the rollout means nothing; the keys of channels, snapshot and timestamp are not there.
pub fn set(place: &Place, keys: &Keyring, offer: &Offer, now: Timestamp) -> Result<ChannelDocument> {
    let rollout = offer.rollout.as_deref().map(rollout::named).transpose()?;
    change(place, keys, true, |repository, channel| {
        let published = |arch: &Arch| {
            let release = twinhull_trust::release_target(&place.product, *arch, &offer.version);
            repository.releases().any(|name| name == release)
        };
        let archs: Vec<Arch> = if offer.archs.is_empty() {
            [Arch::X86_64, Arch::Aarch64].into_iter().filter(published).collect()
        } else {
            offer.archs.clone()
        };
        if archs.is_empty() {
            return Err(Error::Usage(format!(
                "{} {} is not published: `twinhull repo status` lists what is",
                place.product, offer.version
            )));
        }
        for arch in archs {
            channel.roll_out(arch, offer.version.clone(), rollout.clone(), now);
        }
        channel.stepping_stones.extend(offer.stepping_stones.iter().cloned());
        channel.stepping_stones.sort();
        channel.stepping_stones.dedup();
        Ok(())
    })
}

/// Stops a rollout where it is.
///
/// # Errors
/// There is no such channel; keys are missing.
pub fn halt(place: &Place, keys: &Keyring, reason: Option<String>, now: Timestamp) -> Result<ChannelDocument> {
    change(place, keys, false, |_, channel| {
        channel.halt(reason, now);
        Ok(())
    })
}

/// Lets a rollout go on where it was halted.
///
/// # Errors
/// There is no such channel; keys are missing.
pub fn resume(place: &Place, keys: &Keyring, now: Timestamp) -> Result<ChannelDocument> {
    change(place, keys, false, |_, channel| {
        channel.resume(now);
        Ok(())
    })
}

/// What a channel offers.
///
/// # Errors
/// There is no such channel; the repository does not verify.
pub fn show(place: &Place) -> Result<ChannelDocument> {
    let repository = open(&place.repository, &Keyring::default())?;
    read(&repository, place)?.ok_or_else(|| no_such_channel(place))
}

fn change(
    place: &Place,
    keys: &Keyring,
    may_be_new: bool,
    change: impl FnOnce(&Repository, &mut ChannelDocument) -> Result<()>,
) -> Result<ChannelDocument> {
    let mut repository = open(&place.repository, keys)?;
    let before = read(&repository, place)?;
    let mut channel = match &before {
        Some(channel) => channel.clone(),
        None if may_be_new => ChannelDocument::new(place.product.clone(), &place.channel),
        None => return Err(no_such_channel(place)),
    };
    change(&repository, &mut channel)?;
    if before.as_ref() != Some(&channel) {
        repository
            .set_channel(&channel)
            .map_err(trust("changing the channel"))?;
        repository.commit().map_err(trust("signing the channel"))?;
    }
    Ok(channel)
}

fn open(folder: &Path, keys: &Keyring) -> Result<Repository> {
    Repository::open(folder, keys).map_err(trust("opening the repository"))
}

fn read(repository: &Repository, place: &Place) -> Result<Option<ChannelDocument>> {
    if !channel_name_is_valid(&place.channel) {
        return Err(Error::Usage(format!(
            "{}: a channel's name is 1 to 32 of a-z 0-9 -",
            place.channel
        )));
    }
    repository
        .channel(&place.product, &place.channel)
        .map_err(trust("reading the channel"))
}

fn no_such_channel(place: &Place) -> Error {
    Error::Usage(format!(
        "{} has no channel `{}`: `twinhull channel set` makes one",
        place.product, place.channel
    ))
}

/// One line for each architecture, and what holds for all.
pub fn to_text(channel: &ChannelDocument) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (arch, version) in &channel.releases {
        let _ = write!(text, "{} {} {arch}: {version}", channel.product, channel.channel);
        if let Some(settled) = channel.settled.get(arch) {
            let _ = write!(text, ", and {settled} until then");
        }
        text.push('\n');
    }
    if let Some(since) = channel.since {
        let name = channel
            .rollout
            .as_ref()
            .map_or("everybody at once", |rollout| &rollout.name);
        let _ = writeln!(text, "  rollout          {name}, since {since:.0}");
    }
    if !channel.stepping_stones.is_empty() {
        let stones: Vec<String> = channel.stepping_stones.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  stepping stones  {}", stones.join(" "));
    }
    if channel.halted {
        let since = channel
            .halted_since
            .map_or_else(String::new, |since| format!(" since {since:.0}"));
        let reason = channel
            .halted_because
            .as_deref()
            .map_or_else(String::new, |why| format!(": {why}"));
        let _ = writeln!(text, "  halted{since}{reason}");
    }
    text
}
