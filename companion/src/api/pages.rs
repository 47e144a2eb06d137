//! The page: HTML, its assets, the charts' data, and the login.

use std::sync::PoisonError;

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use serde::Deserialize;

use super::Api;
use super::routes::{error, named};
use crate::render::page::{self, ListedRollout, Steering};
use crate::report::RolloutReport;

pub(super) const LOGIN: &str = "/login";
pub(super) const ASSETS: &str = "/assets/";

/// The page runs this controller's script and no other, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page).into_response()
}

/// All rollouts.
pub(super) async fn list(State(api): State<Api>) -> Response {
    let status = api.status.borrow().clone();
    let report = api.report.lock().unwrap_or_else(PoisonError::into_inner);
    html(page::list(&[ListedRollout { status: &status, report: report.as_ref() }]))
}

/// One rollout.
pub(super) async fn detail(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let status = match named(&api, &name) {
        Ok(status) => status,
        Err(refusal) => return *refusal,
    };
    with_report(&api, |report| html(page::detail(&status, report, Steering::OneRollout)))
}

/// From which point on the charts' data is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: usize,
    generation: String,
}

/// The charts' data.
pub(super) async fn history(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(After { after, generation }): Query<After>,
) -> Response {
    if let Err(refusal) = named(&api, &name) {
        return *refusal;
    }
    with_report(&api, |report| Json(page::history_part(report, &generation, after)).into_response())
}

fn with_report(api: &Api, show: impl FnOnce(&RolloutReport) -> Response) -> Response {
    let report = api.report.lock().unwrap_or_else(PoisonError::into_inner);
    report.as_ref().map_or_else(
        || error(StatusCode::NOT_FOUND, "this canaryctl can't read the recorded rollout file"),
        show,
    )
}

/// A script or style sheet. Its path names its version, so it never changes.
pub(super) async fn asset(Path((_, name)): Path<(String, String)>) -> Response {
    let Some(asset) = page::asset(&name) else {
        return error(StatusCode::NOT_FOUND, "no such asset");
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    (headers, asset.text).into_response()
}

/// Where to go on after the login.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Next {
    next: String,
}

/// The form of the login.
#[derive(Debug, Deserialize)]
pub(super) struct Login {
    token: String,
    #[serde(default)]
    next: String,
}

/// Only a path of this controller: a link must not lead elsewhere by way of the login.
fn own_path(next: &str) -> &str {
    let rollout = next.strip_prefix("/rollouts/").unwrap_or("");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if rollout.is_empty() || !rollout.bytes().all(plain) { "/" } else { next }
}

/// The page that asks for the token.
pub(super) async fn ask_token(Query(Next { next }): Query<Next>) -> Response {
    html(page::login(own_path(&next), false))
}

/// Takes the token and lets the browser in.
pub(super) async fn login(
    State(api): State<Api>,
    headers: HeaderMap,
    Form(Login { token, next }): Form<Login>,
) -> Response {
    let next = own_path(&next);
    match api.access.session_cookie(&headers, &token) {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        None => (StatusCode::UNAUTHORIZED, html(page::login(next, true))).into_response(),
    }
}

/// Sends a browser that has no token to the login; `None` for programs.
pub(super) fn to_login(headers: &HeaderMap, path: &str) -> Option<Response> {
    let accepts = headers.get(header::ACCEPT)?.to_str().ok()?;
    let page = accepts.contains("text/html");
    page.then(|| match own_path(path) {
        "/" => Redirect::to(LOGIN).into_response(),
        path => Redirect::to(&format!("{LOGIN}?next={path}")).into_response(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_elsewhere() {
        assert_eq!(own_path("/rollouts/scorer-2"), "/rollouts/scorer-2");
        for other in [
            "",
            "/",
            "//evil.example",
            "/rollouts/",
            "/rollouts//evil.example",
            "https://evil.example",
            "/rollouts/a?b",
            "/\\evil",
        ] {
            assert_eq!(own_path(other), "/", "{other}");
        }
    }
}
