//! `twinhull-lock import-airlock`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::CommandError;
use super::operator::operator;
use super::output::print;
use crate::airlock::{AirlockConfig, AirlockGroup, GROUPS, add_holders};
use crate::config::Config;
use crate::history::Event;
use crate::names::HostId;
use crate::store::{Embedded, Etcd, EtcdConfig, Store, StoreError};

/// How often a record is written while others change it. Nobody should.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Args)]
#[command(after_help = "\
Alone it changes nothing: it prints airlock's groups as a configuration of this server, and who holds a slot there.
With --into it also writes the holders to the store that lock.toml names. Stop airlock first, or it goes on granting.
Doing it again adds nothing twice; airlock's own keys stay as they are.

Examples:
  twinhull-lock import-airlock /etc/airlock/config.toml > lock.toml
  twinhull-lock import-airlock /etc/airlock/config.toml --into /etc/twinhull-lock/lock.toml")]
pub(super) struct ImportAirlock {
    /// airlock's configuration file
    #[arg(value_name = "FILE")]
    airlock: PathBuf,
    /// Write the holders to the store of this server's configuration file; a server that uses its file must not run
    #[arg(long, value_name = "LOCK.TOML")]
    into: Option<PathBuf>,
    /// An etcd of airlock's, in place of those in its file
    #[arg(long, value_name = "URL")]
    endpoint: Vec<String>,
    /// Who signs the certificates of that etcd, in PEM; needed for https
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
}

impl ImportAirlock {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let mut config = AirlockConfig::read(&self.airlock)?;
        if !self.endpoint.is_empty() {
            config.endpoints.clone_from(&self.endpoint);
        }
        let from = EtcdConfig {
            ca: self.etcd_ca.clone(),
            ..EtcdConfig::at(config.endpoints.clone())
        };
        let groups = read_groups(&from).await?;
        let Some(into) = &self.into else {
            return print(as_configuration(&config, &groups, self.etcd_ca.is_some()));
        };
        let target = Config::read(into)?;
        target.check()?;
        let store: Arc<dyn Store> = match &target.store.etcd {
            Some(etcd) => Arc::new(Etcd::connect(etcd).await?),
            None => Arc::new(Embedded::open(&target.store.path)?),
        };
        for group in &groups {
            let added = import(store.as_ref(), group).await.map_err(|error| {
                CommandError::Server(format!("cannot write group {} to the store: {error}", group.name))
            })?;
            let known = if target.groups.contains_key(&group.name) {
                ""
            } else {
                "; the configuration does not name this group: its holders can release, and nobody can take"
            };
            let (name, holders) = (&group.name, group.holders.len());
            print(format!(
                "group {name}: {holders} holders, {added} of them new here{known}\n"
            ))?;
        }
        Ok(())
    }
}

async fn read_groups(from: &EtcdConfig) -> Result<Vec<AirlockGroup>, CommandError> {
    let records = Etcd::connect(from).await?.read_under(GROUPS).await;
    let records = records.map_err(|error| CommandError::Server(format!("airlock's groups: {error}")))?;
    let groups = records
        .iter()
        .filter_map(|(key, value)| AirlockGroup::parse(key, value).transpose());
    Ok(groups.collect::<Result<_, _>>()?)
}

/// How many holders were new.
async fn import(store: &dyn Store, group: &AirlockGroup) -> Result<usize, StoreError> {
    let by = match operator() {
        Some(name) => format!("{name} (imported from airlock)"),
        None => "imported from airlock".to_owned(),
    };
    let mut attempt = 1;
    loop {
        let stored = store.load(&group.name).await?;
        let at = Timestamp::now();
        let (semaphore, changes) = add_holders(stored.semaphore, &group.holders, at);
        let events: Vec<_> = changes
            .into_iter()
            .map(|change| Event {
                at,
                group: group.name.clone(),
                change,
                by: by.clone(),
            })
            .collect();
        if events.is_empty() {
            return Ok(0);
        }
        match store.swap(&group.name, stored.revision, &semaphore, &events).await {
            Ok(_) => return Ok(events.len()),
            Err(StoreError::Conflict) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// A file that this server reads.
fn as_configuration(config: &AirlockConfig, groups: &[AirlockGroup], secure: bool) -> String {
    let mut text = String::from("# Made from airlock's configuration.\n");
    if let Some((address, port)) = &config.listen {
        // airlock speaks plain HTTP; what stands in front of it, if anything, only its operator knows.
        let _ = writeln!(text, "# airlock listens on {address}:{port}.");
    }
    text.push_str("listen = \"127.0.0.1:8480\"\nplain_http = true\n\n");
    let _ = writeln!(text, "[store.etcd]\nendpoints = {:?}", config.endpoints);
    if secure {
        text.push_str("ca = \"/etc/twinhull-lock/etcd-ca.pem\"\n");
    }
    text.push_str("\n[admin]\nsocket = \"/run/twinhull-lock/admin.sock\"\n");
    for (name, slots) in &config.groups {
        let _ = write!(text, "\n[groups.\"{name}\"]\nslots = {slots}");
        let stored = groups.iter().find(|group| group.name == *name);
        if let Some(stored) = stored.filter(|group| group.slots != u64::from(*slots)) {
            let _ = write!(text, " # airlock itself still goes by {}", stored.slots);
        }
        text.push('\n');
    }
    for group in groups.iter().filter(|group| !group.holders.is_empty()) {
        let holders: Vec<_> = group.holders.iter().map(HostId::as_str).collect();
        let _ = writeln!(text, "\n# Slots of {} are held by {}.", group.name, holders.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_that_is_printed_is_one() {
        let config = AirlockConfig {
            listen: Some(("0.0.0.0".to_owned(), 3333)),
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            groups: [("a.b".parse().unwrap(), 2), ("default".parse().unwrap(), 1)].into(),
        };
        let held = AirlockGroup {
            name: "a.b".parse().unwrap(),
            slots: 5,
            holders: vec!["x".parse().unwrap()],
        };
        let text = as_configuration(&config, &[held], false);
        let read: Config = twinhull_config::parse(&text, std::path::Path::new("lock.toml")).unwrap();
        read.check().unwrap();
        assert_eq!(read.groups.len(), 2);
        assert_eq!(read.store.etcd.unwrap().endpoints, config.endpoints);
        assert!(text.contains("slots = 2 # airlock itself still goes by 5"), "{text}");
        assert!(text.contains("# Slots of a.b are held by x."), "{text}");
    }
}
