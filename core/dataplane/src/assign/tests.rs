use serde_json::{Value, json};

use super::*;
use crate::simulation::{Request, SECOND};
use canary_model::runtime::{RolloutRuntime, Snapshot};

fn config(change: impl FnOnce(&mut Value)) -> Config {
    Config::parse(&crate::simulation::config(change)).unwrap()
}

fn control(settings: &[(&str, &str)]) -> Control {
    let entry =
        |(key, value): &(&str, &str)| (format!("canary.r.{key}"), json!({"final_value": value}));
    let entries: serde_json::Map<_, _> = settings.iter().map(entry).collect();
    let answer = json!({"layers": [], "entries": entries}).to_string();
    let snapshot = Snapshot::read(answer.as_bytes(), |_| true).unwrap();
    let mut control = Control::default();
    control.apply(&RolloutRuntime::new(&snapshot, "r"), &config(|_| {}).rollouts[0], 0);
    control
}

/// Decides and confirms, by a cached and a shared record.
fn assign(
    config: &Config,
    cached: &Control,
    shared: Result<&Control, RecordError>,
    headers: &[(&str, &str)],
    now_ns: u64,
) -> Assignment {
    let rollout = &config.rollouts[0];
    let in_force = cached.in_force(rollout, now_ns);
    let body = RequestBody::unread();
    match decide(config, rollout, &Request(headers), &body, in_force, || 1 << 40) {
        Decision::Assigned(assignment) => assignment,
        Decision::Tentative(tentative) => tentative.confirm(rollout, shared, now_ns),
        Decision::Undecided => panic!("the body doesn't matter"),
    }
}

#[test]
fn the_canary_is_tentative_until_the_shared_record_confirms_it() {
    let config = config(|_| {});
    let cached = control(&[("weight", "100")]);
    let in_force = cached.in_force(&config.rollouts[0], 0);
    let decision =
        decide(&config, &config.rollouts[0], &Request(&[]), &RequestBody::none(), in_force, || {
            u64::MAX
        });
    assert!(matches!(decision, Decision::Tentative(_)));
    let mut tripped = control(&[("weight", "100")]);
    assert!(tripped.trip(0));
    let leased = control(&[("weight", "100"), ("lease", "5:a")]);
    for (shared, role, reason) in [
        (Ok(&control(&[("weight", "100")])), Role::Canary, Reason::Random),
        (Ok(&control(&[("weight", "0")])), Role::Stable, Reason::None),
        (Ok(&control(&[("weight", "100@3")])), Role::Stable, Reason::Version),
        (Ok(&tripped), Role::Stable, Reason::Guard),
        (Ok(&leased), Role::Stable, Reason::Lease),
        (Err(RecordError::Missing), Role::Stable, Reason::None),
        (Err(RecordError::Unreadable), Role::Stable, Reason::None),
    ] {
        let assigned = assign(&config, &cached, shared, &[], 5 * SECOND);
        assert_eq!((assigned.role(), assigned.reason()), (role, reason), "{shared:?}");
    }
}

#[test]
fn a_cached_zero_is_stable_without_a_look_at_the_record() {
    let config = config(|_| {});
    let zero = control(&[("weight", "0")]).in_force(&config.rollouts[0], 0);
    let decision =
        decide(&config, &config.rollouts[0], &Request(&[]), &RequestBody::none(), zero, || 0);
    let Decision::Assigned(assignment) = decision else { panic!("{decision:?}") };
    assert_eq!((assignment.role(), assignment.reason()), (Role::Stable, Reason::None));
}

#[test]
fn override_and_inheritance_do_not_depend_on_the_weight() {
    let config = config(|r| {
        r["override"] = json!({"header": "o", "token": {"header": "t", "value": "secret"}});
        r["inherit"] = true.into();
    });
    let zero = control(&[("weight", "0")]);
    let full = control(&[("weight", "100")]);
    let inherit = ("x-canary-version", "2");
    for (headers, role, reason) in [
        (&[("o", "always"), ("t", "secret")][..], Role::Canary, Reason::Override),
        (&[("o", "always"), ("t", "guess")], Role::Stable, Reason::None),
        (&[("o", "always")], Role::Stable, Reason::None),
        (&[inherit], Role::Canary, Reason::Inherited),
        (&[inherit, ("o", "never"), ("t", "secret")], Role::Stable, Reason::Override),
        (&[("x-canary-version", "7")], Role::Stable, Reason::None),
    ] {
        let assigned = assign(&config, &zero, Ok(&zero), headers, 0);
        assert_eq!((assigned.role(), assigned.reason()), (role, reason), "{headers:?}");
    }
    let never = [("o", "never"), ("t", "secret")];
    assert_eq!(assign(&config, &full, Ok(&full), &never, 0).role(), Role::Stable);
}

/// The generated id is the request's key: the client that returns with it is the same one.
#[test]
fn a_generated_cookie_is_the_requests_key() {
    let config = config(|r| r["affinity"] = json!([{"cookie": "cohort"}]));
    let half = control(&[("weight", "50")]);
    let first = assign(&config, &half, Ok(&half), &[], 0);
    let made = first.cookie().unwrap();
    let sent = format!("cohort={}", made.id);
    let again = assign(&config, &half, Ok(&half), &[("cookie", &sent)], 0);
    assert_eq!((again.client(), again.role()), (first.client(), first.role()));
    assert!(first.client().is_some() && again.cookie().is_none());
    assert_eq!((first.reason(), again.reason()), (Reason::Sticky, Reason::Sticky));
}

#[test]
fn cookies_are_read_from_every_line() {
    let config = config(|rollout| {
        rollout["affinity"] = json!([{"cookie": "uid"}]);
        rollout["override"] = json!({"cookie": "pick"});
    });
    let weight = control(&[("weight", "50")]);
    let assign = |headers: &[(&str, &str)]| assign(&config, &weight, Ok(&weight), headers, 0);
    let one = assign(&[("cookie", "a=b; uid=u-7")]);
    assert!(one.client().is_some() && one.cookie().is_none());
    for lines in [
        &[("cookie", "a=b"), ("cookie", "uid=u-7")][..],
        &[("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "uid=\"u-7\"")],
        &[("cookie", "uid=\"u-7\"; a=b"), ("cookie", "uid=u-8")],
    ] {
        assert_eq!(assign(lines), one, "{lines:?}");
    }
    for (value, role) in [("always", Role::Canary), ("\"Never\"", Role::Stable)] {
        let line = format!("c=d; pick={value}");
        let picked = assign(&[("cookie", "uid=u-7"), ("cookie", &line)]);
        assert_eq!((picked.role(), picked.reason()), (role, Reason::Override), "{line}");
    }
}

/// The bucket of a request's key; `None` for a random draw.
fn key(config: &Config, headers: &[(&str, &str)], body: &RequestBody) -> Option<KeyHash> {
    let rollout = &config.rollouts[0];
    let zero = control(&[("weight", "0")]).in_force(rollout, 0);
    match decide(config, rollout, &Request(headers), body, zero, || 0) {
        Decision::Assigned(assignment) => assignment.client(),
        decision => panic!("{decision:?}"),
    }
}

#[test]
fn the_first_source_that_has_a_key_provides_it() {
    let config = config(|rollout| {
        rollout["salt"] = json!("s");
        rollout["affinity"] = json!([
            {"header": "u"}, {"query": "user"}, {"request_json": "/user"}, {"source_address": true},
        ]);
    });
    let pointer = canary_model::pointer::Pointer::parse("/user").unwrap();
    let reading = |text: &str| {
        let mut body = RequestBody::reading([(&pointer, 65_536)].into_iter());
        body.push(text.as_bytes());
        body
    };
    let of = |key: &str| Some(KeyHash::new("s", key.as_bytes()));
    let all = [("u", "h"), (":path", "/x?user=q%20u"), ("source", "[::1]:5")];
    let body = "{\"user\": \"b\"}";
    for (sent, text, expected) in [
        (&all[..], body, of("h")),
        (&[("u", ""), all[1], all[2]], body, of("q u")),
        (&[("u", ""), (":path", "/x?user=&user=2"), all[2]], body, of("b")),
        (&all[2..], "{\"user\": 1.50}", of("1.50")),
        (&all[2..], "{\"user\": true}", of("::1")),
        (&all[2..], "{\"user\": \"\"}", of("::1")),
        (&all[2..], "{\"user\": null}", of("::1")),
        (&[], "[]", None),
    ] {
        assert_eq!(key(&config, sent, &reading(text)), expected, "{sent:?} {text}");
    }
    assert_eq!(key(&config, &all[1..], &RequestBody::unread()), of("q u"), "no need to hold it");
    let zero = control(&[("weight", "0")]).in_force(&config.rollouts[0], 0);
    let waiting = |body: &RequestBody| {
        let draw = || panic!("an undecided request costs no draw");
        decide(&config, &config.rollouts[0], &Request(&all[2..]), body, zero, draw)
    };
    assert_eq!(waiting(&RequestBody::unread()), Decision::Undecided);
    assert_eq!(waiting(&reading("{\"user\": ")), Decision::Undecided);
}

/// A tester is obeyed without a look at the body.
#[test]
fn an_override_does_not_wait_for_a_key_in_the_body() {
    let config = config(|rollout| {
        rollout["override"] = json!({"header": "o"});
        rollout["affinity"] = json!([{"request_json": "/user"}]);
    });
    let rollout = &config.rollouts[0];
    let zero = control(&[("weight", "0")]).in_force(rollout, 0);
    let request = Request(&[("o", "always")]);
    let decision = decide(&config, rollout, &request, &RequestBody::unread(), zero, || 0);
    assert!(matches!(decision, Decision::Assigned(one) if one.role() == Role::Canary));
}
