//! Whom the client trusts and as whom it appears: the part of it that is configured.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Proxy};

use super::{HttpError, chain};
use crate::config::Http;

/// Longest file of certificates or keys that is read, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// Proxy, extra certificate authorities and client certificate, read and parsed.
pub(super) struct Identity {
    proxy: Option<Proxy>,
    authorities: Vec<Certificate>,
    client: Option<reqwest::Identity>,
}

impl Identity {
    /// Reads the files that `settings` name.
    pub(super) fn read(settings: &Http) -> Result<Self, HttpError> {
        let proxy = settings.proxy.as_ref().map(|url| Proxy::all(url.clone())).transpose();
        let authorities = match &settings.ca {
            None => Vec::new(),
            Some(path) => {
                let authorities = Certificate::from_pem_bundle(&read(path)?).map_err(unusable(path))?;
                if authorities.is_empty() {
                    let text = format!("{} (http.ca) holds no certificate in PEM form", path.display());
                    return Err(HttpError::Client(text));
                }
                authorities
            }
        };
        let client = match &settings.client {
            None => None,
            Some((certificate, key)) => {
                let mut both = read(certificate)?;
                both.push(b'\n');
                both.extend(read(key)?);
                Some(reqwest::Identity::from_pem(&both).map_err(unusable(certificate))?)
            }
        };
        Ok(Self {
            proxy: proxy.map_err(|error| HttpError::Client(chain(&error)))?,
            authorities,
            client,
        })
    }

    /// Whether it names any authority; without, there are only those of the host.
    pub(super) fn names_authorities(&self) -> bool {
        !self.authorities.is_empty()
    }

    pub(super) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        if !self.authorities.is_empty() {
            builder = builder.tls_certs_merge(self.authorities.iter().cloned());
        }
        if let Some(client) = &self.client {
            builder = builder.identity(client.clone());
        }
        builder
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
        .map_err(|error| HttpError::Client(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}

fn unusable(path: &Path) -> impl FnOnce(reqwest::Error) -> HttpError + '_ {
    move |error| HttpError::Client(format!("{} cannot be used: {}", path.display(), chain(&error)))
}
