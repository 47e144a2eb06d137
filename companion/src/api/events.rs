//! `GET /api/v1/events`: what changes, as server-sent events.
//!
//! Without a name, `list` events have a line of every rollout. With `?rollout=NAME`, `rollout` events have
//! everything about that one, and `removed` says that it is gone. Both come at once, and then whenever
//! something has changed, at most once a second: nothing is kept for clients that are slow.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::board::Board;
use crate::render;

/// How often what changed is told.
const EVERY: Duration = Duration::from_secs(1);

/// A stream of events about all rollouts, or about one.
pub(super) fn stream(
    board: Board,
    rollout: Option<String>,
    stop: watch::Receiver<bool>,
) -> Response {
    let reporter =
        EventReporter { board, rollout, stop, told: String::new(), first: true, gone: false };
    Sse::new(reporter.events()).keep_alive(KeepAlive::default()).into_response()
}

struct EventReporter {
    board: Board,
    /// The rollout that is told about; `None` for a line of each.
    rollout: Option<String>,
    stop: watch::Receiver<bool>,
    /// What was told last.
    told: String,
    first: bool,
    gone: bool,
}

impl EventReporter {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut reporter| async move {
            let event = reporter.next().await?;
            Some((Ok(event), reporter))
        })
    }

    /// Waits for something new; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.gone {
                return None;
            }
            if !std::mem::take(&mut self.first) {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    _ = self.stop.wait_for(|stop| *stop) => return None,
                }
            }
            let Some((kind, text)) = self.now() else {
                self.gone = true;
                return Some(Event::default().event("removed").data("{}"));
            };
            if text != self.told {
                self.told.clone_from(&text);
                return Some(Event::default().event(kind).data(text));
            }
        }
    }

    /// What there is to tell now; `None` if the rollout is gone.
    fn now(&self) -> Option<(&'static str, String)> {
        // Texts, numbers and maps with text keys: writing them cannot fail.
        match &self.rollout {
            None => {
                let all = self.board.statuses();
                let lines: Vec<_> = all.iter().map(|status| render::list_line(status)).collect();
                Some(("list", serde_json::to_string(&lines).unwrap_or_default()))
            }
            Some(name) => {
                let status = self.board.get(name)?.status.borrow().clone();
                let json = serde_json::to_string(&render::served(&status));
                Some(("rollout", json.unwrap_or_default()))
            }
        }
    }
}
