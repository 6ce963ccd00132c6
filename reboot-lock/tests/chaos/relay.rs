//! A relay on the way from one server to one member.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Closes every connection.
    Cut,
    /// Passes requests on, and closes the connection when an answer comes: what was asked happens, and nobody hears of it.
    DropAnswers,
}

/// A relay, and how to change what it does.
pub(crate) struct Relay {
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
}

impl Relay {
    pub(crate) async fn to(member: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, watched) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, member, watched.clone()));
            }
        });
        Self { url, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(mut client: TcpStream, member: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(mut member) = TcpStream::connect(member).await else {
        return;
    };
    let _ = (client.set_nodelay(true), member.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 16384], vec![0; 16384]);
    loop {
        tokio::select! {
            changed = mode.changed() => {
                if changed.is_err() || *mode.borrow() == Mode::Cut {
                    return;
                }
            }
            read = client.read(&mut up) => match read {
                Ok(count) if count > 0 && member.write_all(&up[..count]).await.is_ok() => {}
                _ => return,
            },
            read = member.read(&mut down) => match read {
                Ok(count) if count > 0 && *mode.borrow() != Mode::DropAnswers => {
                    if client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
