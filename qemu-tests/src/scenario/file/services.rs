//! The services of a scenario file: started, stopped, started again where they were.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::document::{Group, Service};
use super::names::Names;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::scenario::{Repository, Stage};
use crate::servers::client::Client;
use crate::servers::program::Program;
use crate::servers::release::ReleaseServer;
use crate::tools;

/// How long a service may take to serve, in seconds on the reference machine.
const START: u32 = 30;

/// How long a client waits for one answer if nothing else is said.
const PATIENCE: u32 = 10;

/// Where a registry keeps its images, in its private folder.
const IMAGES: &str = "images";

/// A service that can be started.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    what: What,
}

enum What {
    Releases {
        repository: Box<Repository>,
        log: PathBuf,
        server: Option<ReleaseServer>,
    },
    Program {
        program: Program,
        limit: Duration,
        process: Option<Process>,
    },
    Client {
        url: String,
        patience: Duration,
        log: PathBuf,
        client: Option<Client>,
    },
}

/// What a service is made with.
pub(super) struct Surroundings<'a> {
    pub(super) stage: &'a Stage,
    pub(super) names: &'a Names,
    /// Paths of the scenario file count from here.
    pub(super) folder: &'a Path,
    /// Where the service can keep files.
    pub(super) private: PathBuf,
    pub(super) address: SocketAddr,
}

impl Running {
    /// Makes everything that the service `name` needs; it does not run yet.
    pub(super) async fn prepare(name: &str, service: &Service, at: Surroundings<'_>) -> Result<Self> {
        let Surroundings { stage, address, .. } = at;
        fs::create_dir_all(&at.private).map_err(|source| Error::file("make the folder", &at.private, source))?;
        let log = stage.logs().join(format!("{name}.log"));
        let what = match service {
            Service::Releases { repository, keys } => {
                let artefacts = stage.artefacts();
                let given = |path: &PathBuf| Ok(at.folder.join(path));
                let original = repository.as_ref().map_or_else(|| artefacts.repository(), given)?;
                let keys = keys.as_ref().map_or_else(|| artefacts.keys(), given)?;
                let copy = at.private.join("repository");
                let publish = stage.logs().join(format!("{name}.publish.log"));
                What::Releases {
                    repository: Box::new(Repository::copy_of(&original, keys, artefacts, &copy, &publish).await?),
                    log,
                    server: None,
                }
            }
            Service::Client { url, patience } => What::Client {
                url: fill(at.names, url)?,
                patience: Duration::from_secs(patience.unwrap_or(PATIENCE).into()),
                log,
                client: None,
            },
            Service::Registry { images: Some(images) } => {
                let images = at.folder.join(fill(at.names, images)?);
                copy(&images, &at.private.join(IMAGES)).await?;
                What::Program {
                    program: at.program(name, service, log)?,
                    limit: stage.limit(START),
                    process: None,
                }
            }
            program => What::Program {
                program: at.program(name, program, log)?,
                limit: stage.limit(START),
                process: None,
            },
        };
        Ok(Self { address, what })
    }

    pub(super) async fn start(&mut self) -> Result<()> {
        match &mut self.what {
            What::Releases {
                repository,
                log,
                server,
            } => {
                *server = Some(ReleaseServer::start_at(self.address, repository.folder(), log).await?);
            }
            What::Program {
                program,
                limit,
                process,
            } => *process = Some(program.start(*limit).await?),
            What::Client {
                url,
                patience,
                log,
                client,
            } => *client = Some(Client::start(url, *patience, log)?),
        }
        Ok(())
    }

    pub(super) async fn stop(&mut self) {
        match &mut self.what {
            What::Releases { server, .. } => *server = None,
            What::Program { process, .. } => {
                if let Some(process) = process.take() {
                    process.kill().await;
                }
            }
            What::Client { client, .. } => *client = None,
        }
    }

    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.what {
            What::Releases { repository, .. } => Some(repository),
            _ => None,
        }
    }

    pub(super) fn client(&self) -> Option<&Client> {
        match &self.what {
            What::Client { client, .. } => client.as_ref(),
            _ => None,
        }
    }
}

impl Surroundings<'_> {
    fn program(&self, name: &str, service: &Service, log: PathBuf) -> Result<Program> {
        let port = self.address.port();
        let file = |file: &str, text: &str| {
            let path = self.private.join(file);
            fs::write(&path, text).map_err(|source| Error::file("write", &path, source))?;
            Ok::<_, Error>(path)
        };
        let mut ready = None;
        let (program, arguments): (PathBuf, Vec<OsString>) = match service {
            Service::Releases { .. } | Service::Client { .. } => {
                return Err(Error::Expectation(format!("{name} is no program of its own")));
            }
            Service::Lock { groups, etcd } => {
                ready = Some("/readyz".to_owned());
                let config = self.lock_config(groups, etcd.as_deref())?;
                let path = file("lock.toml", &config)?;
                let arguments = vec!["serve".into(), "--config".into(), path.into_os_string()];
                (self.stage.artefacts().program("twinhull-lock")?, arguments)
            }
            Service::Etcd {} => {
                ready = Some("/health".to_owned());
                let peers = crate::ports::free()?;
                let url = format!("http://{}", self.address);
                let text = format!(
                    "--name one --data-dir data --listen-client-urls {url} --advertise-client-urls {url} --listen-peer-urls \
                     http://{peers} --initial-advertise-peer-urls http://{peers} --initial-cluster one=http://{peers}"
                );
                (tools::program("etcd")?, text.split(' ').map(OsString::from).collect())
            }
            Service::Registry { .. } => {
                ready = Some("/v2/".to_owned());
                let config = format!(
                    "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \
                     '127.0.0.1:{port}' }}\n",
                    Value::from(self.private.join(IMAGES).to_string_lossy()),
                );
                let path = file("registry.yml", &config)?;
                (
                    tools::program("docker-registry")?,
                    vec!["serve".into(), path.into_os_string()],
                )
            }
            Service::Balancer { config } => {
                let path = file("haproxy.cfg", &fill(self.names, config)?)?;
                (
                    tools::program("haproxy")?,
                    vec!["-db".into(), "-f".into(), path.into_os_string()],
                )
            }
            Service::Command {
                command,
                files,
                ready: path,
            } => {
                for (name, text) in files {
                    file(name, &fill(self.names, text)?)?;
                }
                ready = path.as_ref().map(|path| fill(self.names, path)).transpose()?;
                let mut words = command.iter().map(|word| fill(self.names, word));
                let first = words.next().transpose()?.unwrap_or_default();
                let program = if first.contains('/') {
                    // Started in another folder, so the path must be whole.
                    let path = self.folder.join(&first);
                    std::path::absolute(&path).map_err(|source| Error::file("find", &path, source))?
                } else {
                    tools::find(&first).ok_or_else(|| Error::Server {
                        server: name.to_owned(),
                        reason: format!("there is no program {first}"),
                    })?
                };
                (program, words.map(|word| Ok(word?.into())).collect::<Result<_>>()?)
            }
        };
        Ok(Program {
            name: name.to_owned(),
            program,
            arguments,
            folder: self.private.clone(),
            address: self.address,
            ready,
            log,
        })
    }

    /// What the reboot lock is told.
    fn lock_config(&self, groups: &BTreeMap<String, Group>, etcd: Option<&str>) -> Result<String> {
        let store = match etcd {
            Some(etcd) => {
                let url = fill(self.names, &format!("http://127.0.0.1:${{{etcd}.port}}"))?;
                format!("[store.etcd]\nendpoints = [\"{url}\"]")
            }
            None => format!(
                "[store]\npath = {}",
                Value::from(self.private.join("lock.redb").to_string_lossy())
            ),
        };
        let socket = Value::from(self.stage.socket().to_string_lossy());
        let mut config = format!(
            "listen = \"{}\"\nplain_http = true\n{store}\n[admin]\nsocket = {socket}\n",
            self.address
        );
        for (group, rules) in groups {
            // Writing to a String cannot fail. A text, a number and a list of texts are written alike in JSON and in TOML.
            let _ = writeln!(config, "[groups.{}]", Value::from(group.as_str()));
            match rules {
                Group::Slots(slots) => {
                    let _ = writeln!(config, "slots = {slots}");
                }
                Group::Rules(rules) => {
                    for (rule, value) in rules {
                        let _ = writeln!(config, "{} = {value}", Value::from(rule.as_str()));
                    }
                }
            }
        }
        if groups.is_empty() {
            config.push_str("[groups.default]\nslots = 1\n");
        }
        Ok(config)
    }
}

/// Copies the folder `from` to `to`, which is not there yet.
async fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Err(Error::artefact(from, "is no folder"));
    }
    let mut copy = tokio::process::Command::new(tools::program("cp")?);
    copy.args(["--archive", "--"]).arg(from).arg(to);
    tools::output(&mut copy).await.map(drop)
}

/// `text` with its names replaced.
pub(super) fn fill(names: &Names, text: &str) -> Result<String> {
    names
        .fill(text)
        .map_err(|name| Error::Expectation(format!("${{{name}}} is used before it is kept")))
}
