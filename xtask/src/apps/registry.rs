//! A registry of container images on our loopback, while something is pushed to it or fetched from it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it may take until it serves, on a host that is busy.
const START: Duration = Duration::from_mins(2);

/// What it writes when it serves, before its address.
const SERVES: &str = "listening on ";

/// A registry; ended when dropped.
pub(super) struct Registry {
    child: Child,
    address: SocketAddr,
}

impl Registry {
    /// Serves the images of the folder `images`; its configuration and its log go to `folder`.
    pub(super) fn serve(images: &Path, folder: &Path) -> Result<Self> {
        let images = std::path::absolute(images).with_context(|| format!("cannot find {}", images.display()))?;
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \
             '127.0.0.1:0' }}\n",
            serde_json::Value::from(images.to_string_lossy())
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let log = folder.join("registry.log");
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share the log between two streams")?)
            .stderr(file)
            .spawn()
            .context("cannot start docker-registry")?;
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if let Some(address) = serves_at(&said) {
                return Ok(Self { child, address });
            }
            let ended = child.try_wait().context("cannot ask after docker-registry")?;
            if ended.is_some() || begun.elapsed() > START {
                let _ = child.kill();
                let _ = child.wait();
                bail!("docker-registry does not serve; its log is {}: {said}", log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it serves, as `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in what it wrote.
fn serves_at(said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once(SERVES)?;
    // Without what follows, the number may not be whole yet.
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_once_it_is_whole() {
        let line = "time=\"x\" level=info msg=\"listening on 127.0.0.1:40123\" go.version=go1.19";
        let address = serves_at(line).unwrap();
        assert_eq!(address, "127.0.0.1:40123".parse().unwrap());
        let cut = line.find("123\"").unwrap();
        assert_eq!(serves_at(&line[..cut]), None);
    }
}
