//! The controller's HTTP interface: JSON, events and pages on a loopback address, for one rollout or many.
//!
//! Whoever can talk to it can steer releases, so a browser that visits a hostile page must not be
//! the way in ([`access`]), and beyond loopback everybody needs a token. [`board`] has the rollouts that the
//! interface shows, [`routes`] its paths, [`events`] what is told as it happens, [`pages`] what browsers get,
//! and [`metrics`] what Prometheus gets. [`command_body`] goes with commands, and [`answer`] with errors.

pub mod access;
mod answer;
pub mod board;
pub mod client;
pub mod command_body;
mod events;
mod metrics;
mod pages;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use access::Access;
use board::Board;

/// What the interface shows, and who may use it.
#[derive(Clone, Debug)]
pub struct Api {
    /// The rollouts of this process.
    pub board: Board,
    /// Who may come in.
    pub access: Arc<Access>,
    /// Whether commands are refused, whoever sends them.
    pub read_only: bool,
    /// Whether releases are started here: by `serve`, not by `run`.
    pub starts: bool,
    /// Turns true when the process stops: streams of events end then.
    pub stop: watch::Receiver<bool>,
}

/// Opens the address.
///
/// # Errors
/// What the system says.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` turns true, or its sender is gone.
pub async fn serve(listener: TcpListener, api: Api) {
    let mut stop = api.stop.clone();
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // Nothing that a client does ends the server; what ends it is `stop`.
    let _ = axum::serve(listener, routes::router(api)).with_graceful_shutdown(stopped).await;
}
