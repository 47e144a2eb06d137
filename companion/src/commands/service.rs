//! What `run` and `serve` share: the address, who may use the interface, the signals, and the end of it.

use std::net::SocketAddr;
use std::time::Duration;

use canary_rollout::event::RolloutEvent;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Context;
use crate::api::access::{Access, Token};
use crate::api::board::Board;
use crate::api::{self, Api};
use crate::cli::ListenArgs;
use crate::controller::status::Status;
use crate::error::Error;
use crate::render::Output;

/// How long the interface is served after the end, for clients that wait for it.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The interface before and while it is served.
#[derive(Debug)]
pub(super) struct Interface {
    /// The address that it listens on.
    pub(super) address: SocketAddr,
    /// The rollouts that the interface shows.
    pub(super) board: Board,
    listener: TcpListener,
    access: Access,
    read_only: bool,
    /// Whether operators start releases over it.
    starts: bool,
}

impl Interface {
    /// Opens the address. Nobody is answered yet. `starts` says whether releases are started over it.
    pub(super) async fn open(
        context: &Context,
        args: &ListenArgs,
        starts: bool,
    ) -> Result<Self, Error> {
        let token = Token::find(context.token_file.as_deref())?;
        let access = Access::new(args.listen, token, args.allow_hosts.clone())?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| Error::System(error.into()))?;
        let access = access.with_session(random);
        let failed = |cause| Error::Listen { address: args.listen.to_string(), cause };
        let listener = api::listen(args.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(Error::System)?;
        let (board, read_only) = (Board::default(), args.read_only);
        Ok(Self { address, board, listener, access, read_only, starts })
    }

    /// Serves until it is closed or dropped.
    pub(super) fn serve(self) -> ServedInterface {
        let Self { board, listener, access, read_only, starts, .. } = self;
        let (closing, stop) = watch::channel(false);
        let api = Api { board, access: access.into(), read_only, starts, stop };
        ServedInterface { closing, server: tokio::spawn(api::serve(listener, api)) }
    }
}

/// The interface while it is served.
#[derive(Debug)]
pub(super) struct ServedInterface {
    closing: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl ServedInterface {
    /// Ends what is being answered, or leaves it after a moment.
    pub(super) async fn close(self) {
        self.closing.send_replace(true);
        // A client that holds its connection open must not hold the process.
        let _ = tokio::time::timeout(GRACE_PERIOD, self.server).await;
    }
}

/// Prints an event that happened at a time of day: a line, or a JSON document.
pub(super) fn print_event(
    output: &Output,
    at: &str,
    event: &RolloutEvent,
    text: &str,
    status: &Status,
) -> Result<(), Error> {
    let rollout = &status.rollout;
    let json = || json!({"at": at, "rollout": rollout, "phase": status.phase, "event": event, "text": text});
    output.print(json, |_| format!("{at} {rollout}: {text}\n"))
}

/// A flag that turns true at SIGTERM or SIGINT.
pub(super) fn until_signal() -> Result<watch::Receiver<bool>, Error> {
    let on = |kind| signal(kind).map_err(Error::System);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // Whoever asks later must still be told.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}
