//! What a channel offers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinhull_layout::{Arch, Product, Version};

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
    /// Whether hosts are to stay where they are for now, whatever is offered.
    #[serde(default)]
    pub halted: bool,
}

/// Whether `channel` can be a channel's name: 1 to 32 of `a-z 0-9 -`, beginning with a letter or digit.
pub fn channel_name_is_valid(channel: &str) -> bool {
    // The same rule as for products, for the same reason: it stands in file names and URLs.
    channel.parse::<Product>().is_ok()
}

impl ChannelDocument {
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
        if channel_name_is_valid(&self.channel) {
            Ok(())
        } else {
            Err(format!(
                "`{}` is not a channel name",
                crate::name::shorten(&self.channel)
            ))
        }
    }
}
