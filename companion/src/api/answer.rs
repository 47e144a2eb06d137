//! How the interface says what is wrong.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::Api;
use super::board::BoardEntry;

/// An error as JSON: `{"error": …}`.
pub(super) fn error(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

/// A rollout by its name, or the answer that there is none.
pub(super) fn named(api: &Api, name: &str) -> Result<BoardEntry, Box<Response>> {
    api.board.get(name).ok_or_else(|| {
        let names = api.board.names().iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
        let here = match names.is_empty() {
            true => "no rollout".to_owned(),
            false => names.join(", "),
        };
        let what = format!("no rollout \"{name}\" here; this controller runs {here}");
        Box::new(error(StatusCode::NOT_FOUND, &what))
    })
}
