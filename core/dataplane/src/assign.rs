//! Who goes where: the decision about one request.
//!
//! The order is override, inherited version, cohort, random roll. A tripped guard, an expired
//! lease and the weight bear on cohort and roll alone: a tester's override reaches the canary
//! whatever the weight.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::cohort::{Bucket, KeyHash};
use crate::control::{InForce, WeightReason};
use crate::cookie;
use canary_model::config::{Affinity, Config, Override, Rollout};
use canary_model::role::Role;

/// A request's headers, asked one by one: each answer costs a call into Envoy, so only what the
/// configuration needs is asked for.
pub trait Headers {
    /// The value of the first header of this name, in lower case; `None` if there is none.
    fn get(&self, name: &str) -> Option<Vec<u8>>;
}

/// Why a request goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A tester's header or cookie said so.
    Override,
    /// The hop before had decided.
    Inherited,
    /// By the bucket of the client's key.
    Sticky,
    /// By a roll of the dice.
    Random,
    /// The guard has tripped: stable.
    Guard,
    /// The lease has run out: stable.
    Lease,
    /// The weight is zero: stable.
    None,
}

/// The decision about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Where it goes.
    pub role: Role,
    /// Why.
    pub reason: Reason,
    /// The bucket that decided, where one did: what a later look at the weight is held against.
    pub bucket: Option<Bucket>,
    /// The client, where the request carried a key. A client whose cookie was just made is none yet:
    /// one that keeps no cookies would be a new client each time.
    pub client: Option<KeyHash>,
    /// A cohort cookie to set on the response.
    pub cookie: Option<NewCookie>,
}

/// A cohort cookie that the filter made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCookie {
    /// Its name.
    pub name: String,
    /// Its value, 32 lower-case hex digits.
    pub id: String,
    /// How long the client keeps it.
    pub max_age: Duration,
}

/// Decides about one request. `random` yields uniformly random numbers, one for each roll and two
/// for a new cookie.
pub fn assign(
    config: &Config,
    rollout: &Rollout,
    in_force: InForce,
    request: &impl Headers,
    mut random: impl FnMut() -> u64,
) -> Assignment {
    let decided =
        |role, reason| Assignment { role, reason, bucket: None, client: None, cookie: None };
    if let Some(role) = rollout.forced.as_ref().and_then(|forced| overridden(forced, request)) {
        return decided(role, Reason::Override);
    }
    let client = sent_key(rollout, request);
    if let Some(role) = inherited(config, rollout, request) {
        return Assignment { client, ..decided(role, Reason::Inherited) };
    }
    let (bucket, cookie, reason) = match client {
        Some(hash) => (hash.bucket(), None, Reason::Sticky),
        None => match made_key(rollout, &mut random) {
            Some((bucket, cookie)) => (bucket, Some(cookie), Reason::Sticky),
            None => (Bucket::from_uniform(random()), None, Reason::Random),
        },
    };
    let mut assignment =
        Assignment { role: Role::Stable, reason, bucket: Some(bucket), client, cookie };
    assignment.weigh(in_force);
    assignment
}

impl Assignment {
    /// Holds the decision against a weight: the cached one first, and before a request is sent to
    /// the canary the one that is in force at that moment. Override and inheritance stand.
    pub fn weigh(&mut self, in_force: InForce) {
        let Some(bucket) = self.bucket else {
            return;
        };
        self.role = if bucket.on_canary(in_force.weight) { Role::Canary } else { Role::Stable };
        match in_force.why {
            WeightReason::GuardTripped => self.reason = Reason::Guard,
            WeightReason::LeaseExpired => self.reason = Reason::Lease,
            WeightReason::Runtime | WeightReason::Config if in_force.weight.ppm() == 0 => {
                self.reason = Reason::None
            }
            WeightReason::Runtime | WeightReason::Config => {}
        }
    }

    /// Whether the request is about to go to the canary because of a weight, which is then to be
    /// confirmed.
    pub fn wants_canary(&self) -> bool {
        self.role == Role::Canary && self.bucket.is_some()
    }

    /// Whether a tester chose: such a request is counted apart.
    pub fn forced(&self) -> bool {
        self.reason == Reason::Override
    }
}

/// The key that the request carries: the first affinity source that is there and not empty.
fn sent_key(rollout: &Rollout, request: &impl Headers) -> Option<KeyHash> {
    let mut cookies: Option<Vec<u8>> = None;
    rollout.affinity.iter().find_map(|source| {
        let key = match source {
            Affinity::Header(name) => request.get(name).filter(|value| !value.is_empty())?,
            Affinity::Cookie { name, .. } => {
                let cookies =
                    cookies.get_or_insert_with(|| request.get("cookie").unwrap_or_default());
                cookie::find(cookies, name)?.to_owned()
            }
        };
        Some(KeyHash::new(&rollout.salt, &key))
    })
}

/// A new cohort cookie and its bucket, where the configuration has a cookie source.
fn made_key(rollout: &Rollout, random: &mut impl FnMut() -> u64) -> Option<(Bucket, NewCookie)> {
    rollout.affinity.iter().find_map(|source| {
        let Affinity::Cookie { name, max_age } = source else {
            return None;
        };
        let id = cookie::id(random(), random());
        let bucket = KeyHash::new(&rollout.salt, id.as_bytes()).bucket();
        Some((bucket, NewCookie { name: name.clone(), id, max_age: *max_age }))
    })
}

fn overridden(forced: &Override, request: &impl Headers) -> Option<Role> {
    if let Some(token) = &forced.token {
        let sent = request.get(&token.header)?;
        // In constant time, or the time of the answer would tell how much of a guess was right.
        if !bool::from(sent.ct_eq(token.value.as_bytes())) {
            return None;
        }
    }
    let by_header = || request.get(forced.header.as_deref()?).and_then(|value| wish(&value));
    let by_cookie = || {
        let name = forced.cookie.as_deref()?;
        cookie::find(&request.get("cookie")?, name).and_then(wish)
    };
    by_header().or_else(by_cookie)
}

fn wish(value: &[u8]) -> Option<Role> {
    let value = value.trim_ascii();
    if value.eq_ignore_ascii_case(b"always") {
        return Some(Role::Canary);
    }
    value.eq_ignore_ascii_case(b"never").then_some(Role::Stable)
}

fn inherited(config: &Config, rollout: &Rollout, request: &impl Headers) -> Option<Role> {
    if !rollout.inherit {
        return None;
    }
    let version = request.get(&config.headers.version)?;
    Role::ALL.into_iter().find(|role| rollout.backend(*role).version.as_bytes() == version)
}
