//! The small pages of the interface: the list of rollouts, a rollout that never began, and the form that takes
//! the token. HTML without scripts and without anything from other hosts. Pure.

use std::fmt::Write;
use std::sync::Arc;

use super::markup::escaped;
use crate::controller::status::{Side, Status};

const STYLE: &str = include_str!("style.css");

/// All rollouts, a line each.
pub(crate) fn list_page(all: &[Arc<Status>], refresh: u32) -> String {
    let mut body = String::from("<h1>Rollouts</h1>\n");
    if all.is_empty() {
        body +=
            "<p>No rollout is served. A rollout file in one of the served folders adds one.</p>\n";
        return page("canaryctl", &body, Some(refresh));
    }
    body += "<table><tr><th>rollout</th><th>phase</th><th class=\"n\">weight</th><th>stable</th>\
             <th>canary</th><th class=\"n\">evidence</th><th>next</th></tr>\n";
    for status in all {
        let name = escaped(&status.rollout);
        let weight = status.weight.set.map_or_else(|| "–".to_owned(), |set| format!("{set} %"));
        let evidence = status.metrics.iter().map(|metric| metric.evidence).reduce(f64::max);
        let evidence =
            evidence.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        let _ = writeln!(
            body,
            "<tr><td><a href=\"/rollouts/{name}\">{name}</a></td><td>{}</td><td class=\"n\">{weight}</td>\
             <td>{}</td><td>{}</td><td class=\"n\">{evidence}</td><td>{}</td></tr>",
            status.phase,
            side(&status.stable),
            side(&status.canary),
            next(status),
        );
    }
    body += "</table>\n";
    page("canaryctl", &body, Some(refresh))
}

/// A rollout without a journal: no release of it has begun here.
pub(crate) fn unstarted_page(status: &Status, refresh: u32) -> String {
    let name = escaped(&status.rollout);
    let body = format!(
        "<h1>{name}</h1>\n<p>{}</p>\n<p><a href=\"/\">All rollouts</a></p>\n",
        next(status)
    );
    page(&name, &body, Some(refresh))
}

/// The form that takes the controller's token; `wrong` says that the last one was not it.
pub(crate) fn login_page(wrong: bool) -> String {
    let wrong =
        if wrong { "<p role=\"alert\">This is not the controller's token.</p>\n" } else { "" };
    let body = format!(
        "<h1>canaryctl</h1>\n{wrong}<form method=\"post\" action=\"/login\"><p><label>Token \
         <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required autofocus></label> \
         <button>Log in</button></p></form>\n"
    );
    page("canaryctl: log in", &body, None)
}

fn page(title: &str, body: &str, refresh: Option<u32>) -> String {
    let again = refresh.map_or_else(String::new, |seconds| {
        format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
    });
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{again}\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

fn side(side: &Side) -> String {
    let version = escaped(side.version.as_deref().unwrap_or("?"));
    if side.requests == 0 {
        return version;
    }
    let failing = 100.0 * side.failures as f64 / side.requests as f64;
    let p99 = side.p99_ms.map_or_else(String::new, |ms| format!(", p99 {ms:.1} ms"));
    format!("{version} <span class=\"faint\">{failing:.3} % failed{p99}</span>")
}

/// What it waits for or why it ended, and what else there is to know.
fn next(status: &Status) -> String {
    let said = status.reason.iter().chain(&status.waits_for).chain(&status.notes);
    said.map(|text| escaped(text)).collect::<Vec<_>>().join("<br>")
}
