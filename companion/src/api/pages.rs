//! What browsers get: the list, a rollout's page, its charts' data, scripts and styles, and the form that
//! takes the token.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use serde::Deserialize;

use super::Api;
use super::access::SESSION_COOKIE;
use super::answer::{error, named};
use crate::render::page::{self, ListedRollout, Steering};

/// Where the token is taken.
pub(super) const LOGIN: &str = "/login";
/// Where scripts and styles are; they hold nothing of any rollout.
pub(super) const ASSETS: &str = "/assets/";

/// The page runs this controller's script and no other, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, page).into_response()
}

/// All rollouts, a line each.
pub(super) async fn list(State(api): State<Api>) -> Response {
    let entries = api.board.entries();
    let listed = entries.iter().map(|entry| ListedRollout {
        status: Arc::clone(&entry.status.borrow()),
        last_event: entry.report.last_event(),
    });
    html(page::list(&listed.collect::<Vec<_>>()))
}

/// One rollout's page, whether a release has begun or not.
pub(super) async fn rollout(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let entry = match named(&api, &name) {
        Ok(entry) => entry,
        Err(refusal) => return *refusal,
    };
    let steering = match (api.read_only, api.starts) {
        (true, _) => Steering::ReadOnly,
        (false, false) => Steering::OneRelease,
        (false, true) => Steering::Releases,
    };
    let status = Arc::clone(&entry.status.borrow());
    let page = entry.report.show(|report| page::rollout(&status, report, steering)).await;
    html(page.unwrap_or_else(|| page::unstarted(&status, steering)))
}

/// From which point on the charts' data is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: usize,
    generation: String,
}

/// The charts' data of one rollout, from a point on.
pub(super) async fn history(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(After { after, generation }): Query<After>,
) -> Response {
    let entry = match named(&api, &name) {
        Ok(entry) => entry,
        Err(refusal) => return *refusal,
    };
    let part = entry.report.show(|report| page::history_part(report, &generation, after)).await;
    part.map_or_else(
        || error(StatusCode::NOT_FOUND, "no release of this rollout has begun"),
        |part| Json(part).into_response(),
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
pub(super) struct LoginQuery {
    next: String,
}

/// The path to go on with: only one of this controller, so that no link leads elsewhere by way of the login.
fn own_path(next: &str) -> &str {
    let rollout = next.strip_prefix("/rollouts/").unwrap_or("");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if rollout.is_empty() || !rollout.bytes().all(plain) { "/" } else { next }
}

/// The form that takes the token.
pub(super) async fn login_form(Query(LoginQuery { next }): Query<LoginQuery>) -> Response {
    html(page::login(own_path(&next), false))
}

/// Takes the token, and gives a cookie for it.
pub(super) async fn login(State(api): State<Api>, headers: HeaderMap, body: String) -> Response {
    let sent = reqwest::Url::parse(&format!("http://form/?{body}")).ok();
    let field = |wanted: &str| {
        let mut fields = sent.as_ref()?.query_pairs();
        fields.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
    };
    let next = field("next").unwrap_or_default();
    let next = own_path(&next);
    let Some(session) = field("token").and_then(|token| api.access.session_for(&token)) else {
        return (StatusCode::UNAUTHORIZED, html(page::login(next, true))).into_response();
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let https = text(header::ORIGIN).starts_with("https://")
        || text(header::HeaderName::from_static("x-forwarded-proto")) == "https";
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict{secure}");
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// Sends a browser without a session to the login, which leads back.
pub(super) fn to_login(path: &str) -> Response {
    match own_path(path) {
        "/" => Redirect::to(LOGIN).into_response(),
        path => Redirect::to(&format!("{LOGIN}?next={path}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_elsewhere() {
        assert_eq!(own_path("/rollouts/scorer-2"), "/rollouts/scorer-2");
        let elsewhere =
            ["", "//evil.example", "/rollouts/", "/rollouts//evil.example", "https://evil.example"];
        for other in elsewhere.into_iter().chain(["/rollouts/a?b", "/\\evil", "/rollouts/a\r\nb"]) {
            assert_eq!(own_path(other), "/", "{other}");
        }
    }
}
