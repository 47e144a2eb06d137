//! Why a request failed: what an upstream did to it, an upstream that was away, Envoy's death; or nothing
//! that excuses it.

use super::clients::{AnswerEnd, ChaosRequest, ChaosRollout};
use super::plan::ChaosPlace;
use super::timeline::{ChaosTimeline, Span};
use super::upstreams::{UpstreamDeed, UpstreamNote};

/// How long before and after an interval its effect may show.
const SLACK: f64 = 0.1;
/// The configured stable version of the rollout without a controller: only its canary's label changes.
pub(super) const STORM_STABLE: &str = "1.0.0";

/// What a request's failure is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// The upstream answered with an error, closed the connection or cut the answer short.
    UpstreamDid,
    /// The upstream refused connections at that time, and those that were open broke.
    UpstreamAway,
    /// Envoy was killed while the request was under way, or wasn't there.
    EnvoyKilled,
    /// Nothing: the product failed it.
    Nothing,
}

impl Excuse {
    /// All of them, the missing one last.
    pub const ALL: [Self; 4] =
        [Self::UpstreamDid, Self::UpstreamAway, Self::EnvoyKilled, Self::Nothing];

    /// The reason in a few words, for the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UpstreamDid => "failed by the upstream",
            Self::UpstreamAway => "upstream away",
            Self::EnvoyKilled => "Envoy killed",
            Self::Nothing => "without an excuse",
        }
    }
}

/// What excuses a request that failed; `None` for one that succeeded.
#[must_use]
pub(super) fn excuse(
    request: &ChaosRequest,
    note: Option<UpstreamNote>,
    timeline: &ChaosTimeline,
) -> Option<Excuse> {
    if request.succeeded() {
        return None;
    }
    let during = Span { begin: request.begun - SLACK, end: request.ended + SLACK };
    let away = |place: ChaosPlace| {
        timeline.away.iter().any(|(at, span)| *at == place && span.overlaps(during))
    };
    Some(if note.is_some_and(|note| explains(note.deed, request)) {
        Excuse::UpstreamDid
    } else if places(request, note).into_iter().any(away) {
        Excuse::UpstreamAway
    } else if timeline.envoy_down.iter().any(|span| span.overlaps(during)) {
        Excuse::EnvoyKilled
    } else {
        Excuse::Nothing
    })
}

/// Whether what the client saw is what comes of what the upstream did, and nothing worse.
fn explains(deed: UpstreamDeed, request: &ChaosRequest) -> bool {
    match deed {
        UpstreamDeed::Answered => false,
        UpstreamDeed::Failed => request.status == Some(500) && request.end == AnswerEnd::Whole,
        // Envoy's own answer.
        UpstreamDeed::Closed => request.status == Some(503) && request.end == AnswerEnd::Whole,
        UpstreamDeed::CutOff => matches!(request.end, AnswerEnd::BrokenOff(_)),
        UpstreamDeed::LeftOutDone => request.end == AnswerEnd::NotDone,
    }
}

/// Where a request was, or may have been about to go.
fn places(request: &ChaosRequest, note: Option<UpstreamNote>) -> Vec<ChaosPlace> {
    match (note, request.rollout, request.version.as_deref()) {
        (Some(note), ..) => vec![note.place],
        (None, ChaosRollout::Storm, Some(STORM_STABLE)) => vec![ChaosPlace::Stable],
        (None, ChaosRollout::Storm, Some(_)) => vec![ChaosPlace::Storm],
        // After a release, both places have the same version.
        (None, ChaosRollout::Demo, Some(_)) => vec![ChaosPlace::Stable, ChaosPlace::Canary],
        // Envoy answers with the version header whatever its upstreams do.
        (None, _, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: Option<u16>, version: Option<&str>, end: AnswerEnd) -> ChaosRequest {
        ChaosRequest {
            id: 1,
            rollout: ChaosRollout::Storm,
            stream: true,
            begun: 10.0,
            answered: Some(10.1),
            ended: 10.2,
            status,
            version: version.map(str::to_owned),
            end,
        }
    }

    fn note(deed: UpstreamDeed) -> Option<UpstreamNote> {
        Some(UpstreamNote { arrived: 0.0, place: ChaosPlace::Storm, deed, diverted: false })
    }

    fn timeline(away: Option<(ChaosPlace, f64)>, down: Option<f64>) -> ChaosTimeline {
        let span = |begin: f64| Span { begin, end: begin + 1.0 };
        ChaosTimeline {
            away: away.into_iter().map(|(place, begin)| (place, span(begin))).collect(),
            envoy_down: down.into_iter().map(span).collect(),
            ..ChaosTimeline::default()
        }
    }

    #[test]
    fn nothing_but_the_upstream_and_the_kill_excuses() {
        let broken = failed(Some(200), Some("1.2.0"), AnswerEnd::BrokenOff(String::new()));
        let calm = timeline(None, None);
        let answered = note(UpstreamDeed::Answered);
        assert_eq!(excuse(&broken, answered, &calm), Some(Excuse::Nothing));
        assert_eq!(excuse(&broken, note(UpstreamDeed::CutOff), &calm), Some(Excuse::UpstreamDid));
        let worse = note(UpstreamDeed::Failed);
        assert_eq!(excuse(&broken, worse, &calm), Some(Excuse::Nothing), "a 500 doesn't break off");
        let whole = failed(Some(200), Some("1.2.0"), AnswerEnd::Whole);
        assert_eq!(excuse(&whole, answered, &calm), None);
        let refused = failed(Some(503), Some("1.2.0"), AnswerEnd::Whole);
        let of =
            |request, place, begin| excuse(request, None, &timeline(Some((place, begin)), None));
        assert_eq!(of(&refused, ChaosPlace::Storm, 9.5), Some(Excuse::UpstreamAway));
        assert_eq!(of(&refused, ChaosPlace::Stable, 9.5), Some(Excuse::Nothing));
        assert_eq!(of(&refused, ChaosPlace::Storm, 11.0), Some(Excuse::Nothing));
        let gone = failed(None, None, AnswerEnd::NoHeaders(String::new()));
        assert_eq!(of(&gone, ChaosPlace::Storm, 9.5), Some(Excuse::Nothing));
        assert_eq!(excuse(&gone, None, &timeline(None, Some(10.1))), Some(Excuse::EnvoyKilled));
        assert_eq!(excuse(&gone, None, &timeline(None, Some(12.0))), Some(Excuse::Nothing));
    }
}
