//! The paths of the interface.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use canary_rollout::inputs::OperatorCommand;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::access::AccessRefusal;
use super::{Api, events, metrics, pages};
use crate::controller::drive::CommandRequest;
use crate::controller::status::Status;

/// The longest that a command waits for the controller's answer.
const PATIENCE: Duration = Duration::from_secs(15);
const HEALTHZ: &str = "/healthz";

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(pages::list))
        .route("/rollouts/{name}", get(pages::detail))
        .route("/rollouts/{name}/history", get(pages::history))
        .route("/assets/{fingerprint}/{name}", get(pages::asset))
        .route(pages::LOGIN, get(pages::ask_token).post(pages::login))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/rollouts", get(list))
        .route("/api/v1/rollouts/{name}", get(show))
        .route("/api/v1/rollouts/{name}/{verb}", post(steer))
        .route("/metrics", get(show_metrics))
        .route(HEALTHZ, get(async || "ok\n"))
        .fallback(async || error(StatusCode::NOT_FOUND, "no such path"))
        .layer(DefaultBodyLimit::max(1 << 16))
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// Lets in who may, and keeps answers out of caches and frames.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let open = matches!(path.as_str(), HEALTHZ | pages::LOGIN) || path.starts_with(pages::ASSETS);
    let headers = request.headers().clone();
    let mut response = match api.access.check(request.headers(), open) {
        Ok(()) => next.run(request).await,
        Err(refusal @ (AccessRefusal::Origin | AccessRefusal::Host)) => {
            error(StatusCode::FORBIDDEN, refusal.message())
        }
        Err(refusal @ AccessRefusal::Token) => {
            pages::to_login(&headers, &path).unwrap_or_else(|| {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                (challenge, error(StatusCode::UNAUTHORIZED, refusal.message())).into_response()
            })
        }
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    let nosniff = header::HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

pub(super) fn error(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

fn now(api: &Api) -> Arc<Status> {
    Arc::clone(&api.status.borrow())
}

async fn list(State(api): State<Api>) -> Response {
    Json(json!([*now(&api)])).into_response()
}

async fn show(State(api): State<Api>, Path(name): Path<String>) -> Response {
    match named(&api, &name) {
        Ok(status) => Json(&*status).into_response(),
        Err(response) => *response,
    }
}

pub(super) fn named(api: &Api, name: &str) -> Result<Arc<Status>, Box<Response>> {
    let status = now(api);
    if status.rollout == name {
        return Ok(status);
    }
    let what = format!("no rollout \"{name}\" here; this controller runs \"{}\"", status.rollout);
    Err(Box::new(error(StatusCode::NOT_FOUND, &what)))
}

async fn steer(
    State(api): State<Api>,
    Path((name, verb)): Path<(String, String)>,
    uri: Uri,
    message: Option<Json<CommandMessage>>,
) -> Response {
    let message = message.map(|Json(message)| message).unwrap_or_default();
    let full = message.full || uri.query().is_some_and(|query| query.split('&').any(is_full));
    let Some(command) = command(&verb, full) else {
        return error(StatusCode::NOT_FOUND, "expected promote, pause, resume, abort or retry");
    };
    if let Err(response) = named(&api, &name) {
        return *response;
    }
    let (reply, answer) = oneshot::channel();
    if api.orders.send(CommandRequest { command, reply }).await.is_err() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the controller is stopping");
    }
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(status))) => Json(&*status).into_response(),
        Ok(Ok(Err(why))) => error(StatusCode::CONFLICT, &why),
        Ok(Err(_)) => error(StatusCode::SERVICE_UNAVAILABLE, "the controller is stopping"),
        Err(_) => error(StatusCode::GATEWAY_TIMEOUT, "the controller is busy"),
    }
}

/// What a command may say beside its verb.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CommandMessage {
    full: bool,
}

fn is_full(pair: &str) -> bool {
    matches!(pair, "full" | "full=true" | "full=1")
}

fn command(verb: &str, full: bool) -> Option<OperatorCommand> {
    Some(match verb {
        "promote" if full => OperatorCommand::PromoteFull,
        "promote" => OperatorCommand::Promote,
        "pause" => OperatorCommand::Pause,
        "resume" => OperatorCommand::Resume,
        "abort" => OperatorCommand::Abort,
        "retry" => OperatorCommand::Retry,
        _ => return None,
    })
}

async fn show_metrics(State(api): State<Api>) -> Response {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics::text(&now(&api))).into_response()
}
