//! A root shell in the guest, through the `sshd` that every image has and a key given as a system credential.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::patience::Patience;
use super::{Machine, Plan};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::tools;

/// How ssh ends when it, and not the command in the guest, has failed (`ssh(1)`).
const SSH_FAILED: i32 = 255;

/// How a command in the guest went.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// One authenticated connection that every command shares: a key exchange takes an emulated guest seconds.
#[derive(Debug)]
pub struct Session {
    master: Process,
    control: PathBuf,
    /// How often the machine had been reset when this began; after another reset it is void.
    resets: usize,
}

impl Machine {
    /// Waits until the guest lets root log in.
    pub async fn wait_for_login(&self, limit: Duration) -> Result<()> {
        self.until("login by ssh", limit, async || {
            self.try_run("true").await.map(|_| Ok(()))
        })
        .await
    }

    /// Runs a shell command in the guest; its standard output, or an error when it fails.
    pub async fn run(&self, command: &str) -> Result<String> {
        let output = self.try_run(command).await?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        Err(Error::Guest {
            command: command.to_owned(),
            status: format!("status {}", output.status),
            output: tools::last_part(format!("{}{}", output.stdout, output.stderr).as_bytes()),
        })
    }

    /// Runs a shell command in the guest, whichever way it ends. Takes at most a minute on the reference machine.
    pub async fn try_run(&self, command: &str) -> Result<Output> {
        self.try_run_within(command, self.limit(60)).await
    }

    /// Runs a shell command in the guest, whichever way it ends, within `limit`.
    pub async fn try_run_within(&self, command: &str, limit: Duration) -> Result<Output> {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_none_or(|session| !session.is_usable(self.resets())) {
            *slot = None;
            *slot = Some(self.connect().await?);
        }
        let Some(session) = slot.as_ref() else {
            return Err(Error::Unreachable("no connection".to_owned()));
        };
        let running = Command::new(tools::program("ssh")?)
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-S"])
            .arg(&session.control)
            .args(["guest", "--", command])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        // A reset takes the other end away without a word.
        let resets = self.resets();
        let patience = Patience::new(&self.starvation, limit);
        let outcome = tokio::select! {
            outcome = running => Some(outcome),
            () = patience.over() => None,
            () = async { while self.resets() == resets { self.monitor.event().await; } } => {
                *slot = None;
                return Err(Error::Unreachable("the machine was reset while a command ran".to_owned()));
            }
        };
        let output = match outcome {
            Some(Ok(output)) => output,
            Some(Err(source)) => return Err(Error::file("start", "ssh", source)),
            None => {
                *slot = None;
                return Err(Error::Unreachable(format!(
                    "`{command}` did not end within {} s",
                    limit.as_secs()
                )));
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(status) if status != SSH_FAILED => {
                let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
                Ok(Output { status, stdout, stderr })
            }
            _ => {
                *slot = None;
                Err(Error::Unreachable(format!("the connection broke: {}", stderr.trim())))
            }
        }
    }

    /// Logs in as `user` with the key of the tests, over a connection of its own; what the user's `id -un` says.
    pub async fn log_in_as(&self, user: &str) -> Result<String> {
        let (Some(address), Some(key)) = (self.ssh, &self.plan.key) else {
            return Err(Error::Unreachable("this machine has no network".to_owned()));
        };
        let mut login = Command::new(tools::program("ssh")?);
        login
            .args(connection(address, key, user))
            .args(["guest", "--", "id -un"]);
        match timeout(self.limit(60), tools::output(&mut login)).await {
            Ok(Ok(said)) => Ok(said.trim().to_owned()),
            Ok(Err(error)) => Err(Error::Unreachable(format!("no login as {user}: {error}"))),
            Err(_) => Err(Error::Unreachable(format!("no answer to a login as {user}"))),
        }
    }

    /// The kernel's id of this boot: another one means another boot.
    pub async fn boot_id(&self) -> Result<String> {
        Ok(self.run("cat /proc/sys/kernel/random/boot_id").await?.trim().to_owned())
    }

    /// The command with which a person can log in while the machine runs.
    pub fn login_command(&self) -> String {
        let (Some(address), Some(key)) = (self.ssh, &self.plan.key) else {
            return "this machine has no network".to_owned();
        };
        let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        // The forwarded port is on the loopback of our network namespace.
        let enter = if nix::unistd::getuid().is_root() {
            "--net"
        } else {
            "--user --preserve-credentials --net"
        };
        let ssh = format!(
            "ssh -i {} -p {} {options} root@127.0.0.1",
            key.display(),
            address.port()
        );
        format!("nsenter --target {} {enter} {ssh}", std::process::id())
    }

    async fn connect(&self) -> Result<Session> {
        let Plan {
            key: Some(key),
            name,
            logs,
            ..
        } = &self.plan
        else {
            return Err(Error::Unreachable("this machine has no network".to_owned()));
        };
        let Some(address) = self.ssh else {
            return Err(Error::Unreachable("this machine has no network".to_owned()));
        };
        let resets = self.resets();
        wait_for_banner(address, self.limit(5)).await?;
        let control = self.folder.path().join("ssh");
        drop(std::fs::remove_file(&control));
        let log = logs.join(format!("{name}.ssh.log"));
        let master = Process::start(&tools::program("ssh")?, master_arguments(address, key, &control), &log)?;
        let session = Session {
            master,
            control,
            resets,
        };
        // The control socket appears once the guest has let us in.
        let ready = async {
            while !session.control.exists() && session.master.status().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match timeout(self.limit(30), ready).await {
            Ok(()) if session.is_usable(self.resets()) => Ok(session),
            _ => {
                let said = std::fs::read(&log).unwrap_or_default();
                Err(Error::Unreachable(format!("no login: {}", tools::last_part(&said))))
            }
        }
    }
}

impl Session {
    fn is_usable(&self, resets: usize) -> bool {
        self.resets == resets && self.master.status().is_none() && self.control.exists()
    }
}

/// Looks whether `sshd` answers at all, which costs the guest nothing; a login costs it seconds.
async fn wait_for_banner(address: SocketAddr, limit: Duration) -> Result<()> {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut banner = [0; 4];
        stream.read_exact(&mut banner).await?;
        Ok::<_, std::io::Error>(banner)
    };
    match timeout(limit, greeting).await {
        Ok(Ok(banner)) if &banner == b"SSH-" => Ok(()),
        _ => Err(Error::Unreachable("sshd does not answer yet".to_owned())),
    }
}

/// The connection that all commands share, as root.
fn master_arguments(address: SocketAddr, key: &Path, control: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-M".into(), "-N".into(), "-S".into(), control.into()];
    arguments.extend(connection(address, key, "root"));
    arguments.push("guest".into());
    arguments
}

/// How a guest is reached, whoever logs in.
fn connection(address: SocketAddr, key: &Path, user: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-F".into(), "none".into()];
    for option in [
        // Host keys are made at the first boot, on a network that nobody else is on.
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=6",
        "HostName=127.0.0.1",
    ] {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["-o".into(), format!("User={user}").into()]);
    arguments.extend(["-p".into(), address.port().to_string().into()]);
    arguments.extend(["-i".into(), key.into()]);
    arguments
}
