//! A build becomes a release: payloads are made, the release is signed, and a channel offers it.
//!
//! In this order, so that a reader of the repository finds at every instant only what is whole: payloads under their final
//! names first, then the signed metadata, the timestamp last.

mod bases;
mod image;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use twinhull_layout::Version;
use twinhull_payload::MakeOptions;
use twinhull_trust::{
    ChannelDocument, Hex32, Package, Pending, ReleaseDocument, Repository, RepositoryError, channel_name_is_valid,
};

use crate::build::manifest::Manifest;
use crate::definition::size::Size;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::repository::keys::{Outcome, load, publish_or_stage};
use crate::sign::verity::Signature;
use image::{Image, Payloads};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The manifest of the build.
    pub manifest: PathBuf,
    /// The release repository.
    pub repository: PathBuf,
    /// The folder with its keys.
    pub keys: PathBuf,
    /// The channel that offers the release from now on.
    pub channel: Option<String>,
    /// The oldest version that may update to this one directly.
    pub minimum_from: Option<Version>,
    /// The manifests of earlier builds to make deltas from.
    pub bases: Vec<PathBuf>,
    /// A folder of earlier builds to choose more bases from.
    pub builds: Option<PathBuf>,
    /// How many of the last of those get a delta as small as can be.
    pub best: usize,
    /// How hard to compress: 1 to 19.
    pub level: i32,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// The build.
    pub manifest: Manifest,
    /// The payloads: what each is, as "root from 1.0.0", and its size.
    pub payloads: Vec<(String, Size)>,
    /// The channel that offers it, or will when it is signed.
    pub channel: Option<String>,
    /// Whether anything changed: the very same release again changes nothing.
    pub changed: bool,
    /// What waits for signatures before hosts can see the release.
    pub waiting: Vec<Pending>,
}

/// Publishes a build.
///
/// # Errors
/// Before any work: the repository, its keys, the channel's name, files of the build that are missing or not what the
/// manifest says, a base of another product or architecture. Later: writing payloads and metadata.
pub fn run(options: &Options, progress: &Progress) -> Result<Published> {
    let manifest = Manifest::read(&options.manifest)?;
    let mut bases = bases::given(&options.bases, &manifest, options.level)?;
    if let Some(channel) = options
        .channel
        .as_deref()
        .filter(|channel| !channel_name_is_valid(channel))
    {
        return Err(Error::Usage(format!(
            "--channel {channel}: a channel's name is 1 to 32 of a-z 0-9 -"
        )));
    }
    let keys = load(&options.keys)?;
    let mut repository = Repository::open(&options.repository, &keys).map_err(trust("opening the repository"))?;
    if let Some(folder) = &options.builds {
        let offered = offered(&repository, &manifest)?;
        bases::add_from(folder, &mut bases, &manifest, &offered, options.best, options.level)?;
    }

    let step = progress.step("check", "compare the files with the manifest");
    let root = Image::root(&options.manifest, &manifest)?;
    let uki = Image::uki(&options.manifest, &manifest)?;
    let mut root_bases = Vec::new();
    let mut uki_bases = Vec::new();
    for base in &bases {
        root_bases.push((Image::root(&base.path, &base.manifest)?, base.level));
        uki_bases.push((Image::uki(&base.path, &base.manifest)?, base.level));
    }
    step.done("the files are what was built");

    let make = MakeOptions {
        scratch: Some(options.repository.clone()),
        ..MakeOptions::default()
    };
    let mut payloads = Payloads::new(&options.repository, make);
    for (name, image, bases) in [(image::ROOT, &root, &root_bases), ("uki", &uki, &uki_bases)] {
        payloads.add(name, image, None, options.level, progress)?;
        for (base, level) in bases {
            payloads.add(name, image, Some(base), *level, progress)?;
        }
    }

    let step = progress.step("sign", "sign the release");
    let release = document(&manifest, &payloads, options.minimum_from.clone())?;
    repository.add_release(&release).map_err(trust("adding the release"))?;
    if let Some(channel) = &options.channel {
        offer(&mut repository, &manifest, channel)?;
    }
    let outcome = publish_or_stage(&mut repository)?;
    step.done(match outcome {
        Outcome::Published => "signed",
        Outcome::Unchanged => "nothing had changed",
        Outcome::Waiting(_) => "left for those who hold the offline keys",
    });
    let changed = !matches!(outcome, Outcome::Unchanged);
    let waiting = match outcome {
        Outcome::Waiting(pending) => pending,
        _ => Vec::new(),
    };
    Ok(Published {
        manifest,
        payloads: payloads.summary(),
        channel: options.channel.clone(),
        changed,
        waiting,
    })
}

/// The versions that any channel offers hosts of this kind, before the new one.
fn offered(repository: &Repository, manifest: &Manifest) -> Result<BTreeSet<Version>> {
    let channels = repository
        .channels(&manifest.product)
        .map_err(trust("reading the channels"))?;
    let of = |channel: ChannelDocument| {
        [&channel.releases, &channel.settled]
            .into_iter()
            .filter_map(|versions| versions.get(&manifest.arch).cloned())
            .chain(channel.stepping_stones.clone())
            .collect::<Vec<_>>()
    };
    Ok(channels.into_iter().flat_map(of).collect())
}

fn document(manifest: &Manifest, payloads: &Payloads, minimum_from: Option<Version>) -> Result<ReleaseDocument> {
    let hex = |text: &str| {
        text.parse::<Hex32>()
            .map_err(|error| Error::Content(format!("the manifest of {} is damaged: {error}", manifest.name())))
    };
    // The time of what is in it and not of its publication: publishing the same build again is then the same release.
    let seconds = i64::try_from(manifest.time).unwrap_or(i64::MAX);
    let created = Timestamp::from_second(seconds)
        .map_err(|error| Error::Content(format!("the time of {} cannot be: {error}", manifest.name())))?;
    Ok(ReleaseDocument {
        product: manifest.product.clone(),
        version: manifest.version.clone(),
        arch: manifest.arch,
        root: twinhull_trust::RootImage {
            size: manifest.root.size,
            root_hash: manifest.root.root_hash,
            salt: hex(&manifest.root.salt)?,
            verity_size: manifest.root.verity_size,
            signature: manifest.root.signature.as_ref().map(Signature::to_text).transpose()?,
            payloads: payloads.of(image::ROOT),
        },
        uki: twinhull_trust::UkiImage {
            size: manifest.uki.size,
            sha256: hex(&manifest.uki.sha256)?,
            payloads: payloads.of("uki"),
        },
        minimum_from,
        packages: manifest
            .packages
            .iter()
            .map(|package| Package {
                name: package.name.clone(),
                version: package.version.clone(),
            })
            .collect(),
        created,
    })
}

/// Has `channel` offer the build to everybody of its architecture from now on; what it offers for others stays, and so does
/// a halt.
fn offer(repository: &mut Repository, manifest: &Manifest, channel: &str) -> Result<()> {
    let current = repository
        .channel(&manifest.product, channel)
        .map_err(trust("reading the channel"))?;
    let mut offered = current.unwrap_or_else(|| ChannelDocument::new(manifest.product.clone(), channel));
    if offered.releases.get(&manifest.arch) == Some(&manifest.version) {
        return Ok(());
    }
    let halt = (offered.halted, offered.halted_since, offered.halted_because.clone());
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    offered.roll_out(manifest.arch, manifest.version.clone(), None, now);
    (offered.halted, offered.halted_since, offered.halted_because) = halt;
    repository.set_channel(&offered).map_err(trust("changing the channel"))
}

/// Says what was being done to the repository.
pub(crate) fn trust(doing: &'static str) -> impl Fn(RepositoryError) -> Error {
    move |source| Error::Trust {
        doing: doing.into(),
        source: Box::new(source),
    }
}
