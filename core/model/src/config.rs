//! The filter's configuration: what the plugin's JSON says, as checked types.
//!
//! [`Config::parse`] is the only way to make one, so whoever holds a `Config` holds a valid one.

mod clients;
mod failure;
mod header_names;
mod read;
mod requests;
mod rules;
mod signal;
mod sse;
#[cfg(test)]
mod tests;
mod timings;

use std::time::Duration;

pub use failure::{FailureRule, Overdue, SseRule};
pub use signal::{Category, Signal, SignalBins, Source, SseEvent};
pub use timings::Timings;

use crate::document::{ConfigError, JsonLines, parse_json};
use crate::matching::{DEFAULT_MAX_BODY, Match};
use crate::pointer::Pointer;
use crate::role::Role;
use crate::weight::Weight;

/// At most so many rollouts in one configuration.
pub const MAX_ROLLOUTS: usize = 32;

/// A whole plugin configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The rollouts, in the order in which they are matched; 0 to [`MAX_ROLLOUTS`].
    pub rollouts: Vec<Rollout>,
    /// The names of the headers that carry the decision.
    pub headers: HeaderNames,
    /// Where the runtime is read.
    pub runtime: RuntimeSource,
}

/// One named split of one service's traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Its name, unique in the configuration.
    pub name: String,
    /// Which requests it takes.
    pub matches: Match,
    /// What everybody has had so far.
    pub stable: Backend,
    /// What is on trial.
    pub canary: Backend,
    /// The weight where the runtime sets none.
    pub weight: Weight,
    /// What cohorts are drawn with; another salt picks other people.
    pub salt: String,
    /// Whether the configuration sets no salt, so that the salt follows the canary's version.
    pub salt_is_default: bool,
    /// Where a client's key comes from, in order.
    pub affinity: Vec<Affinity>,
    /// How a tester picks a version; `None`: nobody can.
    pub overriding: Option<Override>,
    /// What counts as a failure.
    pub failure: FailureRule,
    /// The age at which the judge counts a request, from its headers, 1 s to 10 min.
    pub outcome_age: Duration,
    /// What is measured of a response's progress, beside how long it took.
    pub timings: Timings,
    /// Whether the guard watches.
    pub guard: bool,
    /// What is counted of the answers and the business.
    pub signals: Vec<Signal>,
    /// Whether an incoming version header decides.
    pub inherit: bool,
    /// Whether the upstream is told the version on stable requests, too.
    pub propagate: bool,
}

/// One version and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The version's label, unless Envoy's runtime names another.
    pub version: String,
    /// Envoy's name for the cluster.
    pub cluster: String,
}

/// A source of the key that keeps one client on one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// A request header's value.
    Header(String),
    /// The first parameter of this name in the path's query, percent-decoded.
    Query(String),
    /// A value in the JSON request body.
    RequestJson(Pointer),
    /// The client's address, as Envoy knows it, without its port.
    SourceAddress,
    /// A cookie's value; a missing one is made and set.
    Cookie(CohortCookie),
}

/// The cookie that carries a cohort id, and how the filter sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortCookie {
    /// The name of the cookie.
    pub name: String,
    /// How long the client keeps a cookie that the filter made; whole seconds.
    pub max_age: Duration,
    /// To which sites' requests the client adds it.
    pub same_site: SameSite,
    /// The hosts that get it; the host that set it if `None`.
    pub domain: Option<String>,
    /// The beginning of the paths that get it.
    pub path: String,
}

/// A cookie's `SameSite` attribute (RFC 6265bis, section 5.4.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Only requests from the same site carry it.
    Strict,
    /// Links from other sites carry it, too.
    #[default]
    Lax,
    /// All requests carry it; the cookie must be `Secure`.
    None,
}

impl SameSite {
    /// The attribute's value as cookies and the configuration spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// How a tester picks a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The header that says `always` or `never`.
    pub header: Option<String>,
    /// The cookie that says so.
    pub cookie: Option<String>,
    /// What a request must carry to be heard.
    pub token: Option<OverrideToken>,
}

/// A shared secret of testers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideToken {
    /// The header that carries it.
    pub header: String,
    /// The value that a request must carry, compared in constant time.
    pub value: String,
}

/// The names of the headers that carry the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    /// On canary requests: the cluster to route to.
    pub route: String,
    /// On canary requests and on every response: the version.
    pub version: String,
}

/// Where and how often the runtime is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSource {
    /// The cluster whose endpoint is Envoy's own admin listener.
    pub cluster: String,
    /// Time between two polls.
    pub interval: Duration,
}

impl RuntimeSource {
    /// Time between two polls in nanoseconds.
    pub fn interval_ns(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Config {
    /// Reads and checks a plugin configuration: strict JSON, as [`parse_json`] reads it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<ConfigError>> {
        let value = parse_json(json).map_err(|error| vec![syntax_error(&error)])?;
        read::config(&value)
    }

    /// Reads a plugin configuration from a file's text, exactly as the filter does.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with the line on which it is, from 1.
    pub fn parse_text(json: &str) -> Result<Self, Vec<(u64, ConfigError)>> {
        let value = parse_json(json.as_bytes())
            .map_err(|error| vec![(line_of(&error), syntax_error(&error))])?;
        read::config(&value).map_err(|errors| {
            let lines = JsonLines::new(json);
            let at = |error: ConfigError| (lines.line(&error.path), error);
            errors.into_iter().map(at).collect()
        })
    }

    /// The headers that carry testers' tokens, each once.
    pub fn token_headers(&self) -> Vec<String> {
        let mut headers = Vec::new();
        let forced = self.rollouts.iter().filter_map(|rollout| rollout.overriding.as_ref());
        for token in forced.filter_map(|forced| forced.token.as_ref()) {
            if !headers.contains(&token.header) {
                headers.push(token.header.clone());
            }
        }
        headers
    }
}

fn syntax_error(error: &serde_json::Error) -> ConfigError {
    ConfigError { path: String::new(), message: format!("not valid JSON: {error}") }
}

fn line_of(error: &serde_json::Error) -> u64 {
    u64::try_from(error.line()).unwrap_or(u64::MAX).max(1)
}

/// The salt of a rollout that configures none: `<name>/<canary version>`.
fn default_salt(name: &str, canary_version: &str) -> String {
    format!("{name}/{canary_version}")
}

impl Rollout {
    /// The rollout as it is while its roles run these versions: everything that names a version does
    /// so by these labels, and a default salt follows the canary's.
    #[must_use]
    pub fn labeled(&self, stable: &str, canary: &str) -> Self {
        let mut labeled = self.clone();
        stable.clone_into(&mut labeled.stable.version);
        canary.clone_into(&mut labeled.canary.version);
        if labeled.salt_is_default {
            labeled.salt = default_salt(&labeled.name, canary);
        }
        labeled
    }

    /// The version and cluster of a role.
    pub fn backend(&self, role: Role) -> &Backend {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    /// Whether the judge's unit is the client: whether there is an affinity source at all.
    pub fn sticky(&self) -> bool {
        !self.affinity.is_empty()
    }

    /// How much of a request's body is read for an affinity key, in bytes: as much as for the match, so
    /// that one limit says how long a rollout holds a request.
    pub fn key_max_body(&self) -> usize {
        self.matches.request_json.as_ref().map_or(DEFAULT_MAX_BODY, |json| json.max_body)
    }

    /// Whether anything that is configured depends on response bodies.
    pub fn reads_response_bodies(&self) -> bool {
        let overdue = &self.failure.overdue;
        let in_body = |signal: &Signal| {
            matches!(signal.source, Source::ResponseJson { .. } | Source::ResponseSse { .. })
        };
        overdue.first_byte.is_some()
            || overdue.idle.is_some()
            || self.failure.sse.is_some()
            || self.timings != Timings::default()
            || self.signals.iter().any(in_body)
    }

    /// The paths, below the rollout's own, of the fields that only a module with body hooks can serve.
    pub fn body_fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        let mut needs = |needed: bool, field: &str| {
            if needed {
                fields.push(field.to_owned());
            }
        };
        needs(self.matches.request_json.is_some(), "match.request_json");
        for (place, source) in self.affinity.iter().enumerate() {
            let body = matches!(source, Affinity::RequestJson(_));
            needs(body, &format!("affinity[{place}].request_json"));
        }
        needs(self.failure.overdue.first_byte.is_some(), "failure.overdue.first_byte");
        needs(self.failure.overdue.idle.is_some(), "failure.overdue.idle");
        needs(self.failure.sse.is_some(), "failure.sse");
        needs(self.timings != Timings::default(), "timings");
        for (place, signal) in self.signals.iter().enumerate() {
            let field = match signal.source {
                Source::ResponseJson { .. } => "response_json",
                Source::ResponseSse { .. } => "response_sse",
                Source::ResponseHeader(_) | Source::Request { .. } => continue,
            };
            needs(true, &format!("signals[{place}].from.{field}"));
        }
        fields
    }
}
