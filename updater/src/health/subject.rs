//! What can be up or not: a unit, a container, a place on the network.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http::one_line;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Something that can be up or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A unit of systemd: active.
    Unit(String),
    /// A container of podman: running, and healthy if it has a check of its own.
    Container(String),
    /// A host and a TCP port: takes a connection.
    Address(String),
}

/// How a subject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is up.
    Up,
    /// It has failed and will not come up by itself.
    Failed,
    /// Anything else, in a word: on its way up, not started, not there.
    Other(String),
}

/// Who knows how subjects are.
pub trait Probe {
    /// How `subject` is.
    fn state(&self, subject: &Subject) -> State;
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(name) => write!(out, "unit {name}"),
            Self::Container(name) => write!(out, "container {name}"),
            Self::Address(address) => write!(out, "address {address}"),
        }
    }
}

/// Asks `systemctl`, `podman` and the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostProbe;

impl Probe for HostProbe {
    fn state(&self, subject: &Subject) -> State {
        match subject {
            Subject::Unit(name) => unit(name),
            Subject::Container(name) => container(name),
            Subject::Address(address) => reach(address),
        }
    }
}

fn unit(name: &str) -> State {
    match said(Command::new("systemctl").args(["is-active", "--", name])) {
        Ok(word) if word == "active" => State::Up,
        Ok(word) if word == "failed" => State::Failed,
        Ok(word) => State::Other(word),
        Err(error) => State::Other(format!("of unknown state (cannot run systemctl: {error})")),
    }
}

fn container(name: &str) -> State {
    let format = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}";
    match said(Command::new("podman").args(["container", "inspect", "--format", format, "--", name])) {
        Ok(words) => container_state(&words),
        Err(error) => State::Other(format!("of unknown state (cannot run podman: {error})")),
    }
}

/// What `podman container inspect` says: the state, and the outcome of the container's own check if it has one.
fn container_state(words: &str) -> State {
    match words.trim_end() {
        "running" | "running healthy" => State::Up,
        other => State::Other(other.to_owned()),
    }
}

/// A restarted container comes up again, and so may a network: neither is ever hopeless.
fn reach(address: &str) -> State {
    let connected = address.to_socket_addrs().and_then(|mut addresses| {
        let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        let mut result = Err(none());
        for address in addresses.by_ref() {
            result = TcpStream::connect_timeout(&address, CONNECT).map(drop);
            if result.is_ok() {
                break;
            }
        }
        result
    });
    match connected {
        Ok(()) => State::Up,
        Err(error) => State::Other(format!("out of reach ({error})")),
    }
}

/// The one line a program prints, or without one what it complains of.
fn said(command: &mut Command) -> std::io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let word = one_line(String::from_utf8_lossy(&output.stdout).trim());
    Ok(if word.is_empty() {
        one_line(&String::from_utf8_lossy(&output.stderr))
    } else {
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_is_up_when_it_runs_and_its_own_check_agrees() {
        assert_eq!(container_state("running "), State::Up);
        assert_eq!(container_state("running healthy"), State::Up);
        assert_eq!(
            container_state("running starting"),
            State::Other("running starting".to_owned())
        );
        assert_eq!(container_state("exited "), State::Other("exited".to_owned()));
    }

    #[test]
    fn address_is_up_when_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Subject::Address(listener.local_addr().unwrap().to_string());
        assert_eq!(HostProbe.state(&address), State::Up);
        drop(listener);
        assert!(matches!(HostProbe.state(&address), State::Other(_)));
    }
}
