//! What browsers get: the list, a rollout's page, and the form that takes the token.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::access::SESSION_COOKIE;
use super::answer::error;
use crate::render;

/// After how many seconds the page is asked for again.
const REFRESH: u32 = 3;

/// Has the browser run no script and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page).into_response()
}

/// All rollouts, a line each.
pub(super) async fn list(State(api): State<Api>) -> Response {
    html(render::list_page(&api.board.statuses(), REFRESH))
}

/// One rollout's report, which a browser asks for again and again.
pub(super) async fn rollout(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let Some(entry) = api.board.get(&name) else {
        return error(StatusCode::NOT_FOUND, &format!("no rollout \"{name}\" here"));
    };
    match entry.report.show(|report| render::html(report, Some(REFRESH))).await {
        Some(page) => html(page),
        None => html(render::unstarted_page(&entry.status.borrow().clone(), REFRESH)),
    }
}

/// The form that takes the token.
pub(super) async fn login_form() -> Response {
    html(render::login_page(false))
}

/// Takes the token, and gives a cookie for it.
pub(super) async fn login(State(api): State<Api>, headers: HeaderMap, body: String) -> Response {
    let sent = reqwest::Url::parse(&format!("http://form/?{body}")).ok();
    let token = sent.and_then(|form| {
        let mut fields = form.query_pairs();
        fields.find_map(|(name, value)| (name == "token").then(|| value.into_owned()))
    });
    let Some(session) = token.as_deref().and_then(|token| api.access.session_for(token)) else {
        let mut response = html(render::login_page(true));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let https = text(header::ORIGIN).starts_with("https://")
        || text(header::HeaderName::from_static("x-forwarded-proto")) == "https";
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict{secure}");
    let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}
