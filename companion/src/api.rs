//! The controller's HTTP interface: JSON on a loopback address.
//!
//! Whoever can talk to it can steer releases, so a browser that visits a hostile page must not be
//! the way in ([`access`]), and beyond loopback everybody needs a token.

pub mod access;
pub mod client;
mod events;
mod metrics;
mod pages;
mod routes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::controller::drive::CommandRequest;
use crate::controller::status::Status;
use crate::report::RolloutReport;
use access::Access;

/// What the interface shows, and where it sends commands.
#[derive(Clone)]
pub struct Api {
    /// The rollout as it is now.
    pub status: watch::Receiver<Arc<Status>>,
    /// Commands to the controller.
    pub orders: mpsc::Sender<CommandRequest>,
    /// What the page shows; `None` if this canaryctl can't read the recorded rollout file.
    pub report: Arc<Mutex<Option<RolloutReport>>>,
    /// Who may come in.
    pub access: Arc<Access>,
}

/// Opens the address.
///
/// # Errors
/// What the system says.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` says so, or its sender is gone.
pub async fn serve(listener: TcpListener, api: Api, stop: oneshot::Receiver<()>) {
    let stopped = async {
        let _ = stop.await;
    };
    // Nothing that a client does ends the server; what ends it is `stop`.
    let _ = axum::serve(listener, routes::router(api)).with_graceful_shutdown(stopped).await;
}
