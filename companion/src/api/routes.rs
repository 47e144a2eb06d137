//! The paths of the interface, and the commands that come in by them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::access::AccessRefusal;
use super::answer::{error, named};
use super::command_body::CommandBody;
use super::{Api, events, metrics, pages};
use crate::controller::orders::CommandRequest;
use crate::controller::status::Status;
use crate::render;

/// The longest that a command waits for the controller's answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Says whether the process answers, to anybody.
const HEALTHZ: &str = "/healthz";

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(pages::list))
        .route("/rollouts/{name}", get(pages::rollout))
        .route("/rollouts/{name}/history", get(pages::history))
        .route("/assets/{fingerprint}/{name}", get(pages::asset))
        .route(pages::LOGIN, get(pages::login_form).post(pages::login))
        .route("/api/v1/rollouts", get(list))
        .route("/api/v1/rollouts/{name}", get(show))
        .route("/api/v1/rollouts/{name}/{verb}", post(steer))
        .route("/api/v1/events", get(follow))
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
    let open = [HEALTHZ, pages::LOGIN].contains(&path.as_str()) || path.starts_with(pages::ASSETS);
    let browser = wants_page(request.headers());
    let mut response = match api.access.check(request.headers(), open) {
        Ok(()) => next.run(request).await,
        Err(refusal @ (AccessRefusal::Origin | AccessRefusal::Host)) => {
            error(StatusCode::FORBIDDEN, refusal.message())
        }
        Err(AccessRefusal::Token) if browser => pages::to_login(&path),
        Err(refusal @ AccessRefusal::Token) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (challenge, error(StatusCode::UNAUTHORIZED, refusal.message())).into_response()
        }
    };
    let headers = response.headers_mut();
    // Scripts and styles may be kept; they say so themselves.
    let no_store = header::HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    let nosniff = header::HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

async fn list(State(api): State<Api>) -> Response {
    let all = api.board.statuses();
    Json(all.iter().map(|status| render::served(status)).collect::<Vec<_>>()).into_response()
}

async fn show(State(api): State<Api>, Path(name): Path<String>) -> Response {
    match named(&api, &name) {
        Ok(entry) => {
            let mut status = Status::clone(&entry.status.borrow());
            let recent = entry.report.recent();
            let shown =
                recent.iter().map(|last| render::past_event(&last.at, &last.event, &last.spec));
            status.recent = shown.collect();
            Json(render::served(&status)).into_response()
        }
        Err(response) => *response,
    }
}

async fn steer(
    State(api): State<Api>,
    Path((name, verb)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Response {
    if api.read_only {
        return error(StatusCode::FORBIDDEN, "this controller is read-only (--read-only)");
    }
    let body = match CommandBody::read(&body) {
        Ok(body) => body,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why),
    };
    let Some(order) = body.command(&verb) else {
        let expected = "expected start, promote, pause, resume, abort, retry or finish";
        return error(StatusCode::NOT_FOUND, expected);
    };
    let entry = match named(&api, &name) {
        Ok(entry) => entry,
        Err(response) => return *response,
    };
    let (reply, answer) = oneshot::channel();
    let reason = body.reason.filter(|reason| !reason.trim().is_empty());
    let answer = async {
        let request = CommandRequest { order, reason, reply };
        entry.orders.send(request).await.ok()?;
        answer.await.ok()
    };
    answered(tokio::time::timeout(PATIENCE, answer).await.map_err(drop))
}

type Answer = Result<Arc<Status>, String>;

fn answered(answer: Result<Option<Answer>, ()>) -> Response {
    match answer {
        Ok(Some(Ok(status))) => Json(render::served(&status)).into_response(),
        Ok(Some(Err(why))) => error(StatusCode::CONFLICT, &why),
        Ok(None) => error(StatusCode::SERVICE_UNAVAILABLE, "the controller is stopping"),
        Err(()) => error(StatusCode::GATEWAY_TIMEOUT, "the controller is busy"),
    }
}

#[derive(Debug, Deserialize)]
struct FollowQuery {
    rollout: Option<String>,
}

async fn follow(State(api): State<Api>, Query(followed): Query<FollowQuery>) -> Response {
    if let Some(name) = &followed.rollout
        && let Err(response) = named(&api, name)
    {
        return *response;
    }
    events::stream(api.board, followed.rollout, api.stop)
}

async fn show_metrics(State(api): State<Api>) -> Response {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics::text(&api.board.statuses())).into_response()
}
