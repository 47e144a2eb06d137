//! Rollouts as their Envoys show them, as text: `get`, `list`, `set weight` and `abort`.

use canary_model::runtime::Lease;
use canary_model::weight::Weight;
use canary_rollout::state::Phase;

use super::measures;
use super::output::{EnvoyState, Paint};
use super::table::{Table, UNKNOWN};
use crate::observe::{FleetView, VersionView};

/// The text of `get rollout`.
pub(crate) fn rollout_text(view: &FleetView, envoys: &[EnvoyState], paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&view.rollout));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<8} {value}\n"));
    line("weight", weights(view));
    line(
        "guard",
        flag(view.guard_tripped, "tripped: all traffic goes to stable", "not tripped", paint),
    );
    line(
        "lease",
        flag(view.lease_expired, "expired: all traffic goes to stable", "not expired", paint),
    );
    if view.killed {
        line("switch", paint.bad("off: all traffic goes to stable"));
    }
    if !view.owners.is_empty() {
        line("owner", view.owners.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let missing: Vec<&str> =
        envoys.iter().filter(|one| one.error.is_some()).map(|one| one.url.as_str()).collect();
    if !missing.is_empty() || envoys.len() > 1 {
        let answered = format!("{} of {} answered", envoys.len() - missing.len(), envoys.len());
        let without = format!("{answered}, without {}", missing.join(", "));
        line("envoys", if missing.is_empty() { answered } else { paint.bad(&without) });
    }
    text.push('\n');
    text.push_str(&side_by_side(view));
    text
}

fn weights(view: &FleetView) -> String {
    let weight =
        |weight: Option<Weight>| weight.map_or(UNKNOWN.to_owned(), |weight| format!("{weight} %"));
    let measured = view.measured.map_or(UNKNOWN.to_owned(), share);
    format!("set {} · in force {} · measured {measured}", weight(view.set), weight(view.in_force))
}

fn flag(value: Option<bool>, yes: &str, no: &str, paint: Paint) -> String {
    match value {
        Some(true) => paint.bad(yes),
        Some(false) => paint.good(no),
        None => UNKNOWN.to_owned(),
    }
}

fn side_by_side(view: &FleetView) -> String {
    let version = |role: &str, side: &VersionView| {
        side.version.as_ref().map_or(role.to_owned(), |version| format!("{role} {version}"))
    };
    let (stable, canary) = (&view.stable, &view.canary);
    let mut table = Table::new(["", &version("stable", stable), &version("canary", canary)]);
    let mut row = |name: &str, of: &dyn Fn(&VersionView) -> String| {
        let known =
            |side: &VersionView| if side.version.is_some() { of(side) } else { UNKNOWN.to_owned() };
        table.row([name.to_owned(), known(stable), known(canary)]);
    };
    row("requests", &|side| side.counts.requests.to_string());
    row("failures", &|side| side.counts.failures.to_string());
    row("failed", &|side| failed(side).map_or(UNKNOWN.to_owned(), share));
    for (name, at) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        row(name, &|side| side.counts.time_us.quantile(at).map_or(UNKNOWN.to_owned(), millis));
    }
    let more = measures::rows(&(&stable.counts).into(), &(&canary.counts).into());
    more.into_iter().for_each(|row| table.row(row));
    table.render(1)
}

/// The text of `list`.
pub(crate) fn list_text(views: &[FleetView], phases: &[Option<Phase>], paint: Paint) -> String {
    if views.is_empty() {
        return String::new();
    }
    let header = [
        "ROLLOUT",
        "STABLE",
        "CANARY",
        "STATE",
        "SET",
        "IN FORCE",
        "MEASURED",
        "CANARY RQ",
        "CANARY FAILED",
    ];
    let mut table = Table::new(header);
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let weight = |weight: Option<Weight>| or_unknown(weight.map(|weight| format!("{weight} %")));
    for (view, phase) in views.iter().zip(phases) {
        table.row([
            view.rollout.clone(),
            or_unknown(view.stable.version.clone()),
            or_unknown(view.canary.version.clone()),
            state(view, *phase).to_owned(),
            weight(view.set),
            weight(view.in_force),
            or_unknown(view.measured.map(share)),
            view.canary.counts.requests.to_string(),
            view.canary.counts.failures.to_string(),
        ]);
    }
    let text = table.render(4);
    let (header, rows) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rows}", paint.bold(header))
}

/// The strongest of the fail-safes that hold a rollout back; if none does, the phase that its controller
/// reports.
fn state(view: &FleetView, phase: Option<Phase>) -> &'static str {
    match view {
        FleetView { killed: true, .. } => "switched off",
        FleetView { guard_tripped: Some(true), .. } => "guard tripped",
        FleetView { lease_expired: Some(true), .. } => "lease expired",
        _ => phase.map_or("ok", Phase::as_str),
    }
}

/// The text of `set weight`.
pub(crate) fn set_text(
    name: &str,
    weight: Weight,
    lease: Option<&Lease>,
    envoys: &[EnvoyState],
    paint: Paint,
) -> String {
    let lease = lease.map_or(String::new(), |lease| format!(" for {} s", lease.seconds()));
    format!("{}: weight {weight} %{lease}\n{}", paint.bold(name), each(envoys, "in force", paint))
}

/// The text of `abort`.
pub(crate) fn aborted_text(
    name: &str,
    version: Option<&str>,
    envoys: &[EnvoyState],
    paint: Paint,
) -> String {
    let (done, version) = (each(envoys, "switched off", paint), with_version(version));
    format!("{}: aborted, all traffic goes to stable{version}\n{done}", paint.bold(name))
}

/// The text of `abort` while stable's place is being replaced.
pub(crate) fn held_text(
    name: &str,
    version: Option<&str>,
    envoys: &[EnvoyState],
    paint: Paint,
) -> String {
    let (done, version) = (each(envoys, "held", paint), with_version(version));
    format!(
        "{}: paused; stable's place is being replaced, so no user is back on stable: all traffic is in the \
         canary's place{version}\n{done}",
        paint.bold(name)
    )
}

fn with_version(version: Option<&str>) -> String {
    version.map_or(String::new(), |version| format!(", version {version}"))
}

fn each(envoys: &[EnvoyState], done: &str, paint: Paint) -> String {
    let line = |one: &EnvoyState| match &one.error {
        None => format!("  {}  {}\n", one.url, paint.good(done)),
        Some(_) => format!("  {}  {}\n", one.url, paint.bad("failed")),
    };
    envoys.iter().map(line).collect()
}

fn failed(side: &VersionView) -> Option<f64> {
    let requests = side.counts.requests;
    (requests > 0).then(|| side.counts.failures as f64 / requests as f64)
}

/// A share as a percentage with two decimals.
fn share(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn millis(us: f64) -> String {
    format!("{:.2} ms", us / 1_000.0)
}
