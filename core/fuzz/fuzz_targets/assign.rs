//! Any request's headers against a configuration that uses them all: at 0 and 100 % nobody is on
//! the wrong side, a tester is obeyed only with the token, and the same request goes the same way.
#![no_main]

use std::sync::LazyLock;

use canary_dataplane::assign::{Assignment, Decision, Headers, Reason, decide};
use canary_dataplane::control::{Control, InForce, WeightReason};
use canary_dataplane::request_body::RequestBody;
use canary_model::config::{Config, Rollout};
use canary_model::pointer::Pointer;
use canary_model::role::Role;
use canary_model::weight::{PPM, Weight};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"rollouts": [{"name": "r", "inherit": true,
    "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"},
    "affinity": [{"header": "u"}, {"query": "q"}, {"request_json": "/j"}, {"source_address": true}, {"cookie": "k"}],
    "override": {"header": "o", "cookie": "c", "token": {"header": "t", "value": "secret"}}}]}"#;

static SOUND: LazyLock<Config> =
    LazyLock::new(|| Config::parse(CONFIG.as_bytes()).expect("the configuration is sound"));

static POINTER: LazyLock<Pointer> =
    LazyLock::new(|| Pointer::parse("/j").expect("the pointer is sound"));

/// One header a line: its name's first letter, and the value.
struct Lines<'a>(Vec<&'a [u8]>);

impl Headers for Lines<'_> {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.get_all(name).into_iter().next()
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        let letter = name.strip_prefix("x-canary-").unwrap_or(name).as_bytes().first();
        let letter = if name == "cookie" { Some(&b'K') } else { letter };
        let of_name = self.0.iter().filter(|line| line.first() == letter && letter.is_some());
        of_name.filter_map(|line| line.get(1..).map(<[u8]>::to_vec)).collect()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.get("s")
    }
}

/// The rollout with this weight configured.
fn rollout_at(weight: Weight) -> Rollout {
    Rollout { weight, ..SOUND.rollouts[0].clone() }
}

fuzz_target!(|data: &[u8]| {
    let request = Lines(data.split(|byte| *byte == b'\n').collect());
    let config = &*SOUND;
    let rollout = &config.rollouts[0];
    let at = |ppm| -> Assignment {
        let weight = Weight::from_ppm(ppm).expect("a share");
        let cached = InForce { weight, reason: WeightReason::Runtime };
        let mut body = RequestBody::reading([(&*POINTER, 65_536)].into_iter());
        body.push(&request.get("j").unwrap_or_default());
        body.end();
        match decide(config, rollout, &request, &body, cached, || 7 << 60) {
            Decision::Assigned(assignment) => assignment,
            Decision::Tentative(tentative) => {
                let configured = rollout_at(weight);
                tentative.confirm(&configured, Ok(&Control::default()), 0)
            }
            Decision::Undecided => panic!("the body has ended"),
        }
    };
    for (ppm, role) in [(0, Role::Stable), (PPM, Role::Canary)] {
        let decided = at(ppm);
        assert_eq!(decided, at(ppm));
        match decided.reason() {
            Reason::Override => assert_eq!(request.get("t").as_deref(), Some(&b"secret"[..])),
            Reason::Inherited => {}
            _ => assert_eq!(decided.role(), role),
        }
        assert!(decided.cookie().is_none_or(|cookie| cookie.id.len() == 32));
        assert!(
            decided.cookie().is_none() || decided.client().is_some(),
            "a generated id is a key"
        );
    }
});
