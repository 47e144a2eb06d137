//! Which version gets a request: the decision about one request.
//!
//! The order is override, inherited version, cohort, random draw. Guard, lease and weight apply to
//! cohort and draw only: a tester's override reaches the canary at any weight.
//!
//! A worker decides on its cached weight, and a cached weight may be too high. So [`decide`] never
//! assigns a request to the canary because of a weight. It returns a [`Tentative`], and only
//! [`Tentative::confirm`] turns that into an [`Assignment`], from the record that all workers share.

use subtle::ConstantTimeEq;

use crate::affinity_key;
use crate::cohort::{Bucket, KeyHash};
use crate::control::{Control, InForce, WeightReason, weight_in_force};
use crate::cookie::{self, Cookies};
pub use crate::host::Headers;
use crate::request_body::{BodyValue, RequestBody};
use crate::shared::RecordError;
use canary_model::config::{Affinity, CohortCookie, Config, Override, Rollout};
use canary_model::role::Role;
use canary_model::weight::Weight;

/// Why a request is assigned to its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A tester's header or cookie selected the role.
    Override,
    /// The previous hop had decided.
    Inherited,
    /// By the bucket of the client's key.
    Sticky,
    /// By a random draw.
    Random,
    /// The guard has tripped: stable.
    Guard,
    /// The lease has run out: stable.
    Lease,
    /// The runtime's weight is meant for another version of the canary: stable.
    Version,
    /// The weight is zero, or the shared record can't be read: stable.
    None,
}

/// The final decision about one request. Only [`decide`] and [`Tentative::confirm`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    role: Role,
    reason: Reason,
    client: Option<KeyHash>,
    cookie: Option<NewCookie>,
}

/// What the cached weight says about a request.
///
/// The canary case has no role and no way to the request's headers until it is confirmed:
///
/// ```compile_fail
/// # use canary_dataplane::assign::{Assignment, Decision};
/// fn forgets_to_confirm(decision: Decision) -> Assignment {
///     match decision {
///         Decision::Assigned(assignment) => assignment,
///         Decision::Tentative(tentative) => tentative.into(),
///         Decision::Undecided => unimplemented!(),
///     }
/// }
/// ```
///
/// ```
/// # use canary_dataplane::{assign::{Assignment, Decision}, control::Control, shared::RecordError};
/// # use canary_model::config::Rollout;
/// fn confirms(
///     decision: Decision,
///     rollout: &Rollout,
///     record: Result<&Control, RecordError>,
///     now_ns: u64,
/// ) -> Option<Assignment> {
///     match decision {
///         Decision::Assigned(assignment) => Some(assignment),
///         Decision::Tentative(tentative) => Some(tentative.confirm(rollout, record, now_ns)),
///         Decision::Undecided => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Stable, or a role that doesn't depend on the weight (override, inherited version).
    Assigned(Assignment),
    /// The canary if the shared record confirms it.
    Tentative(Tentative),
    /// The client's key may be in bytes of the body that haven't come.
    Undecided,
}

/// A request that goes to the canary if the shared record, read now, confirms the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Tentative(Candidate);

/// A request whose role depends on the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    bucket: Bucket,
    by: Reason,
    client: Option<KeyHash>,
    cookie: Option<NewCookie>,
}

/// A cohort cookie that the filter made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCookie {
    /// What it is called, and how it is set.
    pub cookie: CohortCookie,
    /// Its value, 32 lower-case hex digits.
    pub id: String,
}

/// Decides about one request on the weight that a worker has cached. `draw` yields uniformly random
/// numbers: one for a random draw, two for a new cookie.
///
/// The body matters only if no earlier source has a key. An undecided request has cost no draw.
pub fn decide<H: Headers>(
    config: &Config,
    rollout: &Rollout,
    request: &H,
    body: &RequestBody,
    cached: InForce,
    mut draw: impl FnMut() -> u64,
) -> Decision {
    let cookies = Cookies::new(request);
    let fixed = |role, reason, client| {
        Decision::Assigned(Assignment { role, reason, client, cookie: None })
    };
    if let Some(role) =
        rollout.overriding.as_ref().and_then(|rule| override_role(rule, request, &cookies))
    {
        return fixed(role, Reason::Override, None);
    }
    let Ok(client) = sent_key(rollout, request, body, &cookies) else {
        return Decision::Undecided;
    };
    if let Some(role) = inherited(config, rollout, request) {
        return fixed(role, Reason::Inherited, client);
    }
    let candidate = match client {
        Some(key) => {
            Candidate { bucket: key.bucket(), by: Reason::Sticky, client: Some(key), cookie: None }
        }
        None => match generated_key(rollout, &mut draw) {
            Some((key, cookie)) => Candidate {
                bucket: key.bucket(),
                by: Reason::Sticky,
                client: Some(key),
                cookie: Some(cookie),
            },
            None => Candidate {
                bucket: Bucket::from_uniform(draw()),
                by: Reason::Random,
                client: None,
                cookie: None,
            },
        },
    };
    if candidate.bucket.on_canary(cached.weight) {
        Decision::Tentative(Tentative(candidate))
    } else {
        Decision::Assigned(candidate.assign(cached))
    }
}

impl Tentative {
    /// Decides by the shared record, read at this moment: the canary if the weight in force still
    /// says so, otherwise stable. Without a readable record it is stable.
    pub fn confirm(
        self,
        rollout: &Rollout,
        record: Result<&Control, RecordError>,
        now_ns: u64,
    ) -> Assignment {
        self.0.assign(weight_in_force(record, rollout, now_ns))
    }
}

impl Candidate {
    fn assign(self, in_force: InForce) -> Assignment {
        let canary = self.bucket.on_canary(in_force.weight);
        let reason = match in_force.reason {
            WeightReason::GuardTripped => Reason::Guard,
            WeightReason::LeaseExpired => Reason::Lease,
            WeightReason::Version => Reason::Version,
            WeightReason::NoRecord(_) => Reason::None,
            WeightReason::Runtime | WeightReason::Config if in_force.weight == Weight::ZERO => {
                Reason::None
            }
            WeightReason::Runtime | WeightReason::Config => self.by,
        };
        let role = if canary { Role::Canary } else { Role::Stable };
        Assignment { role, reason, client: self.client, cookie: self.cookie }
    }
}

impl Assignment {
    /// The role that gets the request.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Why the request goes to this role.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The client, if the request has a key. A generated cookie id is the key of its request, too, so
    /// a client counts once and not again when it returns with its cookie.
    pub fn client(&self) -> Option<KeyHash> {
        self.client
    }

    /// The cohort cookie to set on the response.
    pub fn cookie(&self) -> Option<&NewCookie> {
        self.cookie.as_ref()
    }

    /// Whether a tester selected the role: such a request is counted separately.
    pub fn is_override(&self) -> bool {
        self.reason == Reason::Override
    }

    /// An assignment that no request led to.
    #[cfg(test)]
    pub(crate) fn for_test(role: Role, reason: Reason) -> Self {
        Self { role, reason, client: None, cookie: None }
    }
}

/// The client's key may be in bytes of the body that haven't come.
struct KeyPending;

/// The key that the request carries: from the first affinity source that is present and not empty.
fn sent_key<H: Headers>(
    rollout: &Rollout,
    request: &H,
    body: &RequestBody,
    cookies: &Cookies<'_, H>,
) -> Result<Option<KeyHash>, KeyPending> {
    let hash = |key: &[u8]| (!key.is_empty()).then(|| KeyHash::new(&rollout.salt, key));
    for source in &rollout.affinity {
        let key = match source {
            Affinity::Header(name) => request.get(name).and_then(|key| hash(&key)),
            Affinity::Query(name) => {
                let key = request.get(":path").and_then(|path| affinity_key::query(&path, name));
                key.and_then(|key| hash(&key))
            }
            Affinity::RequestJson(pointer) => match body.value(pointer, rollout.key_max_body()) {
                BodyValue::Pending => return Err(KeyPending),
                BodyValue::Found(found) if !found.boolean => hash(found.text.as_bytes()),
                BodyValue::Found(_) | BodyValue::Absent => None,
            },
            Affinity::SourceAddress => {
                let address = request.source_address();
                let key = address.and_then(|address| affinity_key::source_address(&address));
                key.and_then(|key| hash(&key))
            }
            Affinity::Cookie(cookie) => cookies.find(&cookie.name).and_then(hash),
        };
        if key.is_some() {
            return Ok(key);
        }
    }
    Ok(None)
}

/// A new cohort cookie and the key that it stands for, if the configuration has a cookie source.
fn generated_key(
    rollout: &Rollout,
    draw: &mut impl FnMut() -> u64,
) -> Option<(KeyHash, NewCookie)> {
    rollout.affinity.iter().find_map(|source| {
        let Affinity::Cookie(cookie) = source else {
            return None;
        };
        let id = cookie::id(draw(), draw());
        let key = KeyHash::new(&rollout.salt, id.as_bytes());
        Some((key, NewCookie { cookie: cookie.clone(), id }))
    })
}

fn override_role<H: Headers>(
    rule: &Override,
    request: &H,
    cookies: &Cookies<'_, H>,
) -> Option<Role> {
    if let Some(token) = &rule.token {
        let sent = request.get(&token.header)?;
        // In constant time; otherwise, the time of the answer would tell how much of a guess is right.
        if !bool::from(sent.ct_eq(token.value.as_bytes())) {
            return None;
        }
    }
    let by_header = || request.get(rule.header.as_deref()?).and_then(|value| selected_role(&value));
    let by_cookie = || cookies.find(rule.cookie.as_deref()?).and_then(selected_role);
    by_header().or_else(by_cookie)
}

fn selected_role(value: &[u8]) -> Option<Role> {
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
    let runs = |role: &Role| rollout.backend(*role).version.as_bytes() == version;
    let mut named = Role::ALL.into_iter().filter(runs);
    // If both roles run the same version, its name decides nothing.
    named.next().filter(|_| named.next().is_none())
}

#[cfg(test)]
mod tests;
