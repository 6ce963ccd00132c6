//! `twinhull-lock serve`: puts the parts together, and lives with the service manager.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::CommandError;
use super::activation::Passed;
use crate::config::Config;
use crate::groups::Groups;
use crate::names::GroupName;
use crate::policy::Policy;
use crate::queue::Clock;
use crate::server::{self, BasePath, Gate, Listener, Listeners, Tls, Token, token};
use crate::store::{Embedded, Etcd, Store};

/// File descriptors besides those of connections: the store, listeners, the runtime's own.
const OTHER_FILES: u64 = 64;

#[derive(Debug, Args)]
#[command(after_help = "\
Prints `listening on http://ADDRESS:PORT` on standard output once it answers; logs to standard error.
TWINHULL_LOG sets how much is logged (error, warn, info, debug).

Examples:
  twinhull-lock serve --config /etc/twinhull-lock/lock.toml
  twinhull-lock serve --plain-http --listen 127.0.0.1:0 --store ./lock.redb --group default=1 --group edge=3")]
pub(super) struct Serve {
    /// Configuration file; the other options override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for hosts [default: 127.0.0.1:8480]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Path that the URLs begin with, for a server behind a proxy [default: /]
    #[arg(long, value_name = "PATH")]
    base_path: Option<String>,
    /// File that keeps the locks [default: /var/lib/twinhull-lock/lock.redb]
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// A group and its slots; replaces the groups of the file; can be repeated
    #[arg(long = "group", value_name = "NAME=SLOTS", value_parser = parse_group)]
    groups: Vec<(GroupName, u32)>,
    /// Unix socket for administration
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// TCP address for administration; needs --admin-token-file
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// File with the bearer token for --admin-listen
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Listen without encryption on loopback addresses; without it [tls] must be configured
    #[arg(long)]
    plain_http: bool,
    /// Together with plain HTTP: on other addresses too
    #[arg(long)]
    insecure_plain_http: bool,
}

fn parse_group(text: &str) -> Result<(GroupName, u32), String> {
    let (name, slots) = text.split_once('=').ok_or("write NAME=SLOTS, such as default=1")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let slots = slots
        .parse()
        .map_err(|error| format!("the slots `{slots}` are not a number: {error}"))?;
    Ok((name, slots))
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let config = self.configuration()?;
        let mut signals = Signals::listen().map_err(CommandError::system("listen for signals"))?;
        allow_files(config.limits.connections as u64 + OTHER_FILES);
        let store: Arc<dyn Store> = match &config.store.etcd {
            Some(etcd) => Arc::new(Etcd::connect(etcd).await?),
            None => Arc::new(Embedded::open(&config.store.path)?),
        };
        let clock: Clock = Arc::new(now);
        let groups = Groups::start(store, clock, &config.policies()).await?;
        let gate = Arc::new(Gate::new(config.access()?, config.rate()));
        let tls = config.tls_files().map(Tls::new).transpose()?.map(Arc::new);
        let listeners = self.bind(&config, tls.as_ref()).await?;
        announce(&listeners).map_err(CommandError::system("print the address"))?;

        let (stop, stopped) = watch::channel(false);
        let serving = server::serve(
            listeners,
            Arc::clone(&groups),
            Arc::clone(&gate),
            config.limits(),
            stopped,
        );
        let serving = tokio::spawn(serving);
        notify(&[NotifyState::Ready]);
        while let Next::Reload = signals.next().await {
            self.reload(&config, &groups, &gate, tls.as_deref()).await;
        }
        tracing::info!("shutting down");
        notify(&[NotifyState::Stopping]);
        // Fails only when the server has ended by itself.
        let _ = stop.send(true);
        serving
            .await
            .map_err(std::io::Error::other)
            .map_err(CommandError::system("finish serving"))
    }

    /// The file with the options laid over it.
    fn configuration(&self) -> Result<Config, CommandError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(path) = &self.base_path {
            config.base_path.clone_from(path);
        }
        if let Some(path) = &self.store {
            config.store.path.clone_from(path);
            config.store.etcd = None;
        }
        if !self.groups.is_empty() {
            let groups = self.groups.iter().cloned();
            config.groups = groups.map(|(name, slots)| (name, Policy::with_slots(slots))).collect();
        }
        config.plain_http |= self.plain_http;
        let admin = &mut config.admin;
        admin.socket = self.admin_socket.clone().or(admin.socket.take());
        admin.listen = self.admin_listen.or(admin.listen);
        admin.token_file = self.admin_token_file.clone().or(admin.token_file.take());
        config.check()?;
        Ok(config)
    }

    async fn bind(&self, config: &Config, tls: Option<&Arc<Tls>>) -> Result<Listeners, CommandError> {
        let plain = config.plain_http(self.insecure_plain_http);
        let mut passed = Passed::take(tls, plain)?;
        let mut administration = Vec::new();
        let token = || -> Result<Option<Token>, CommandError> {
            let file = config.admin.token_file.as_ref();
            Ok(file
                .map(|file| token::read(file))
                .transpose()?
                .map(|token| Token::new(&token)))
        };
        for listener in std::mem::take(&mut passed.administration) {
            let token = match listener {
                Listener::Unix(..) => None,
                Listener::Tcp(..) => Some(token()?.ok_or(CommandError::NoToken)?),
            };
            administration.push((listener, token));
        }
        // What the service manager listens on takes the place of what the configuration says.
        if administration.is_empty() {
            if let Some(path) = &config.admin.socket {
                administration.push((Listener::unix(path)?, None));
            }
            if let (Some(address), Some(token)) = (config.admin.listen, token()?) {
                let listener = Listener::tcp(address, tls.cloned(), plain).await?;
                administration.push((listener, Some(token)));
            }
        }
        let public = match passed.public {
            Some(listener) => listener,
            None => Listener::tcp(config.listen, tls.cloned(), plain).await?,
        };
        Ok(Listeners {
            public,
            base: BasePath::new(&config.base_path),
            public_status: config.public_status,
            administration,
        })
    }

    /// Makes the slots, the access and the certificates of the files the ones in force. A file that cannot be used changes
    /// nothing.
    async fn reload(&self, started_with: &Config, groups: &Groups, gate: &Gate, tls: Option<&Tls>) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!("cannot tell the time to the service manager: {error}"),
        }
        let read = self.configuration().and_then(|config| {
            let access = config.access()?;
            if let Some(tls) = tls {
                tls.reload()?;
            }
            Ok((config, access))
        });
        match read {
            Ok((config, access)) => {
                gate.replace(access);
                let fixed = Config {
                    groups: started_with.groups.clone(),
                    access: started_with.access.clone(),
                    ..config.clone()
                };
                if fixed != *started_with {
                    tracing::warn!("other settings than groups and access changed; they need a restart");
                }
                match groups.configure(&config.policies()).await {
                    Ok(()) => tracing::info!("configuration reloaded"),
                    Err(error) => tracing::error!("configuration not reloaded completely: {error}"),
                }
            }
            Err(error) => tracing::error!("configuration not reloaded, the old one stays: {error}"),
        }
        notify(&[NotifyState::Ready]);
    }
}

/// Whole seconds: what people read and compare.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Says where the server listens: on standard output, so that whoever asked for port 0 can read it.
fn announce(listeners: &Listeners) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {}", listeners.public.url()?)?;
    for (listener, _) in &listeners.administration {
        writeln!(out, "administration on {}", listener.url()?)?;
    }
    out.flush()
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// Raises the limit of open files as far as is needed and allowed.
fn allow_files(needed: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if soft >= needed {
        return;
    }
    let raised = needed.min(hard);
    if raised < needed || setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_err() {
        tracing::warn!(
            needed,
            hard,
            "too few open files allowed for limits.connections; raise LimitNOFILE= of the unit"
        );
    }
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

enum Next {
    Reload,
    Stop,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            _ = self.terminate.recv() => Next::Stop,
            _ = self.interrupt.recv() => Next::Stop,
            Some(()) = self.reload.recv() => Next::Reload,
        }
    }
}
