//! What is new, as a stream of server-sent events: one for each time that a rollout was looked at.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;

use super::Api;
use crate::controller::status::Status;

/// `event: status` with the rollout's name and phase, at once and after each observation. Who wants more asks
/// for it.
pub(super) async fn events(State(api): State<Api>) -> Response {
    let mut receiver = api.status.clone();
    receiver.mark_changed();
    let stream = stream::unfold(receiver, async |mut receiver: watch::Receiver<Arc<Status>>| {
        receiver.changed().await.ok()?;
        let event = {
            let status = receiver.borrow_and_update();
            json!({"rollout": status.rollout, "phase": status.phase})
        };
        let event = Event::default().event("status").data(event.to_string());
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}
