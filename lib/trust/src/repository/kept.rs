//! Changes of channels that wait until the release they offer is published.
//!
//! A channel that offered what nobody can see yet would be refused by every host. So a change that is made together with a
//! release that waits for signatures is kept as `pending/channels/PRODUCT/CHANNEL.json`, the document as it is to be, and
//! is signed with the online keys when the release is published.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{CHANNELS, Keyring, RELEASES, Repository, RepositoryError, files};
use crate::{ChannelDocument, MAX_DOCUMENT_BYTES, channel_target, release_target};

impl Repository {
    /// The changes of channels that wait for their releases, each as the channel will be.
    ///
    /// # Errors
    /// A file in `pending/` that is not what it should be.
    pub fn pending_channels(&self) -> Result<Vec<ChannelDocument>, RepositoryError> {
        self.kept_names()?.iter().map(|name| self.read_kept(name)).collect()
    }

    /// The documents of channels that differ from what is published, by target name.
    ///
    /// # Errors
    /// [`RepositoryError::CannotWait`] if something else than a document was changed.
    pub(super) fn channels_to_keep(&self) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
        let published = Self::open(&self.directory, &Keyring::default())?;
        let (now, before) = (&self.role(CHANNELS)?.listed, &published.role(CHANNELS)?.listed);
        let cannot_wait = |name: &String| RepositoryError::CannotWait { name: name.clone() };
        if let Some(gone) = before.keys().find(|name| !now.contains_key(*name)) {
            return Err(cannot_wait(gone));
        }
        let changed = now.iter().filter(|(name, record)| before.get(*name) != Some(record));
        changed
            .map(|(name, _)| {
                let bytes = self.target_bytes(CHANNELS, name)?.ok_or_else(|| cannot_wait(name))?;
                read(name, &bytes).ok_or_else(|| cannot_wait(name))?;
                Ok((name.clone(), bytes))
            })
            .collect()
    }

    /// Makes the kept changes whose releases are published, or are with the next commit.
    ///
    /// # Errors
    /// A kept file that is not what it should be.
    pub(super) fn take_kept(&mut self) -> Result<(), RepositoryError> {
        for name in self.kept_names()? {
            let mut wanted = self.read_kept(&name)?;
            let listed = &self.role(RELEASES)?.listed;
            let mut offered = wanted.releases.iter().chain(&wanted.settled);
            if !offered.all(|(arch, version)| listed.contains_key(&release_target(&wanted.product, *arch, version))) {
                continue;
            }
            let now = self.channel(&wanted.product, &wanted.channel)?;
            let since = now.as_ref().and_then(|now| now.since);
            let made = now.is_some_and(|now| {
                now == ChannelDocument {
                    since,
                    ..wanted.clone()
                }
            });
            if made {
                // Made already, and cut before it was removed here.
                self.forget_kept(&name)?;
                continue;
            }
            if wanted.since != since {
                // A rollout begins when hosts can see it, not when somebody asked for signatures.
                wanted.since = Timestamp::from_second(self.clock.now().as_second()).ok();
            }
            self.set_channel(&wanted)?;
            self.made_of_kept.insert(name);
        }
        Ok(())
    }

    /// Forgets the kept changes of channels that are now changed otherwise: the later word counts.
    pub(super) fn forget_overruled(&self) -> Result<(), RepositoryError> {
        for name in self.kept_names()? {
            let overruled = self.changes_channel(&name)? && !self.made_of_kept.contains(&name);
            if overruled {
                self.forget_kept(&name)?;
            }
        }
        Ok(())
    }

    /// Forgets the kept changes that were just published.
    pub(super) fn forget_made(&mut self) -> Result<(), RepositoryError> {
        std::mem::take(&mut self.made_of_kept)
            .iter()
            .try_for_each(|name| self.forget_kept(name))
    }

    fn kept_names(&self) -> Result<Vec<String>, RepositoryError> {
        let folder = self.directory.join("pending/channels");
        let mut names = Vec::new();
        for product in entries(&folder)? {
            for path in entries(&product)? {
                let part = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
                // A name with a dot in front is a file whose writing was cut.
                if let (Some(product), Some(file)) = (part(&product), part(&path))
                    && !file.starts_with('.')
                {
                    names.push(format!("channels/{product}/{file}"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn read_kept(&self, name: &str) -> Result<ChannelDocument, RepositoryError> {
        let path = self.kept(name);
        let bytes = files::read(&path, MAX_DOCUMENT_BYTES)?;
        read(name, &bytes).ok_or(RepositoryError::NoChannel { path })
    }

    fn forget_kept(&self, name: &str) -> Result<(), RepositoryError> {
        Ok(twinhull_durable::remove(&self.kept(name))?)
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.directory.join("pending").join(name)
    }
}

/// The document of the channel that the target `name` belongs to.
fn read(name: &str, bytes: &[u8]) -> Option<ChannelDocument> {
    let (product, channel) = name.strip_prefix("channels/")?.strip_suffix(".json")?.split_once('/')?;
    let product = product.parse().ok()?;
    let named = channel_target(&product, channel) == name;
    named
        .then(|| ChannelDocument::from_bytes(bytes, name, &product, channel).ok())
        .flatten()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, RepositoryError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(folder).map_err(files::failed("read", folder))?;
    listed
        .map(|entry| entry.map(|entry| entry.path()).map_err(files::failed("read", folder)))
        .collect()
}
