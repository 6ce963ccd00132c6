//! From names to verified documents.

use twinhull_layout::{Arch, Product, Version};

use super::{ChannelDocument, MAX_DOCUMENT_BYTES, ReleaseDocument, channel_target, release_target};
use crate::{Client, Clock, Fetcher, TrustError};

impl Client {
    /// What `channel` offers to hosts of `product`.
    ///
    /// # Errors
    /// Those of [`Client::find`] and [`Client::fetch_bytes`]; [`TrustError::NoSuchTarget`]; those of
    /// [`ChannelDocument::from_bytes`].
    pub fn channel(
        &mut self,
        fetcher: &mut dyn Fetcher,
        clock: &dyn Clock,
        product: &Product,
        channel: &str,
    ) -> Result<ChannelDocument, TrustError> {
        let name = channel_target(product, channel);
        let bytes = self.document(fetcher, clock, &name)?;
        ChannelDocument::from_bytes(&bytes, &name, product, channel)
    }

    /// The release `version` of `product` for `arch`.
    ///
    /// # Errors
    /// Those of [`Client::find`] and [`Client::fetch_bytes`]; [`TrustError::NoSuchTarget`]; those of
    /// [`ReleaseDocument::from_bytes`].
    pub fn release(
        &mut self,
        fetcher: &mut dyn Fetcher,
        clock: &dyn Clock,
        product: &Product,
        arch: Arch,
        version: &Version,
    ) -> Result<ReleaseDocument, TrustError> {
        let name = release_target(product, arch, version);
        let bytes = self.document(fetcher, clock, &name)?;
        ReleaseDocument::from_bytes(&bytes, &name, product, arch, version)
    }

    fn document(&mut self, fetcher: &mut dyn Fetcher, clock: &dyn Clock, name: &str) -> Result<Vec<u8>, TrustError> {
        let target = self.find(fetcher, clock, name)?;
        let target = target.ok_or_else(|| TrustError::NoSuchTarget { name: name.to_owned() })?;
        self.fetch_kept(fetcher, &target, MAX_DOCUMENT_BYTES)
    }
}
