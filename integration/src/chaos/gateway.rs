//! The controller's way to Envoy's admin interface: a TCP port of ours that can be blocked.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::plan::AdminBlock;
use crate::harness::held_port::{ANY_PORT, HeldPort};

const BACKLOG: u32 = 64;

/// Forwards connections to the admin's unix socket while it isn't blocked; it ends when it's dropped.
#[derive(Debug)]
pub(super) struct AdminGateway {
    at: SocketAddr,
    mode: watch::Sender<Option<AdminBlock>>,
    task: JoinHandle<()>,
}

impl AdminGateway {
    /// A gateway on a free port.
    pub(super) fn start(admin: PathBuf) -> Self {
        let port = HeldPort::new(ANY_PORT);
        let at = port.at();
        let (mode, changes) = watch::channel(None);
        let listener = port.listen(BACKLOG);
        let task = tokio::spawn(forward_all(listener, port, admin, changes));
        Self { at, mode, task }
    }

    /// The URL under which the controller finds the admin.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Blocks it, or frees it again.
    pub(super) fn set(&self, mode: Option<AdminBlock>) {
        self.mode.send_replace(mode);
    }
}

impl Drop for AdminGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward_all(
    mut listener: TcpListener,
    port: HeldPort,
    admin: PathBuf,
    mut mode: watch::Receiver<Option<AdminBlock>>,
) {
    loop {
        let mut connections = JoinSet::new();
        let of_connections = mode.clone();
        loop {
            tokio::select! {
                blocked = mode.wait_for(|mode| *mode == Some(AdminBlock::Refuses)) => {
                    if blocked.is_err() { return }
                    break;
                }
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(forward(stream, admin.clone(), of_connections.clone()));
                    while connections.try_join_next().is_some() {}
                }
            }
        }
        drop(listener);
        connections.shutdown().await;
        if mode.wait_for(|mode| *mode != Some(AdminBlock::Refuses)).await.is_err() {
            return;
        }
        listener = port.listen(BACKLOG);
    }
}

/// Forwards one connection. While the gateway hangs nothing moves, and then the connection breaks.
async fn forward(
    mut stream: TcpStream,
    admin: PathBuf,
    mut mode: watch::Receiver<Option<AdminBlock>>,
) {
    let mut also = mode.clone();
    let hangs = mode.wait_for(|mode| *mode == Some(AdminBlock::Hangs));
    tokio::select! {
        biased;
        _ = hangs => {}
        _ended = exchange(&mut stream, admin) => return,
    }
    let _gateway_ended = also.wait_for(|mode| *mode != Some(AdminBlock::Hangs)).await;
}

async fn exchange(stream: &mut TcpStream, admin: PathBuf) -> std::io::Result<()> {
    let mut envoy = UnixStream::connect(admin).await?;
    copy_bidirectional(stream, &mut envoy).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Whether a byte comes back through the gateway within this time.
    async fn answers(gateway: &AdminGateway) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(gateway.at).await?;
        stream.write_all(b"x").await?;
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read_exact(&mut byte));
        Ok(read.await.is_ok_and(|read| read.is_ok()))
    }

    #[tokio::test]
    async fn it_forwards_refuses_and_hangs_as_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let gateway = AdminGateway::start(path);
        assert!(answers(&gateway).await.unwrap());
        gateway.set(Some(AdminBlock::Hangs));
        assert!(!answers(&gateway).await.unwrap());
        gateway.set(None);
        assert!(answers(&gateway).await.unwrap());
        gateway.set(Some(AdminBlock::Refuses));
        let refused = async || answers(&gateway).await.is_err();
        crate::eventually("connections are refused", refused, |refused| *refused).await;
        gateway.set(None);
        let open = async || answers(&gateway).await.unwrap_or_default();
        crate::eventually("it forwards again", open, |open| *open).await;
    }
}
