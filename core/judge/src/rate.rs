//! A test of shares of events, failures or conversions: the abort test and the non-inferiority test together.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockUpdate, Change, FULL, TickContext};
use super::conversion::Events;
use super::conversion_abort::ConversionAbort;
use super::counts::{Merge, Pair, Sides, Trials};
use super::effects::EffectEstimate;
use super::effects::shares::ShareEffect;
use super::failure_abort::{RequestAbort, Tolerated};
use super::failure_abort_sticky::{ClientAbort, ClientTick};
use super::non_inferiority::{NonInferiority, NonInferiorityTick};
use super::observation::Observation;
use super::verdict::{FindingUnit, Findings, InsufficientData, NonInferiorityFigures};

/// A test of shares of events, with its non-inferiority test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    events: Events,
    tolerated: Tolerated,
    abort: Abort,
    non_inferiority: NonInferiority,
    /// What was compared since the test's start or the window's.
    counts: Pair<Trials>,
    /// The difference with its interval; `None` where nobody will ask for it.
    effect: Option<ShareEffect>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Abort {
    Requests(RequestAbort),
    Conversions(ConversionAbort),
    Clients(ClientAbort),
}

impl Rate {
    /// A test that counts requests, its start mixture spread over `planned_blocks`.
    pub(crate) fn new(events: Events, tolerated: Tolerated, planned_blocks: u64) -> Self {
        let abort = match &events {
            Events::Failures => Abort::Requests(RequestAbort::new(tolerated, planned_blocks)),
            Events::Conversions(_) => {
                Abort::Conversions(ConversionAbort::new(tolerated.margin, planned_blocks))
            }
        };
        Self {
            events,
            tolerated,
            abort,
            non_inferiority: NonInferiority::new(tolerated),
            counts: Pair::default(),
            effect: Some(ShareEffect::default()),
        }
    }

    /// Count clients instead, as rollouts with affinity must. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.abort = Abort::Clients(ClientAbort::new(self.tolerated));
        if let Some(effect) = &mut self.effect {
            effect.count_clients();
        }
    }

    /// A step begins: the non-inferiority test counts from now on.
    pub(crate) fn begin_step(&mut self, margin: Option<f64>) {
        // A budget of failures says nothing about conversions.
        let margin = margin.filter(|_| self.events == Events::Failures);
        self.non_inferiority.begin_step(margin);
        if let Some(effect) = &mut self.effect {
            effect.begin_step();
        }
    }

    /// An operator goes on in spite of the evidence: it is gathered again.
    pub(crate) fn restart(&mut self) {
        match &mut self.abort {
            Abort::Requests(test) => test.restart(),
            Abort::Conversions(test) => test.restart(),
            Abort::Clients(test) => test.restart(),
        }
        self.counts = Pair::default();
    }

    /// Leaves out the effect from now on.
    pub(crate) fn without_effect(&mut self) {
        self.effect = None;
    }

    /// The canary's share minus stable's, since the start and since the step.
    pub(crate) fn effects(&self, metric: &str) -> Vec<EffectEstimate> {
        let Tolerated { ratio, margin } = self.tolerated;
        // A ratio above 1 tolerates more the more stable fails: that is no one number.
        let tolerated = (ratio == 1.0).then_some(match self.events {
            Events::Failures => margin,
            Events::Conversions(_) => -margin,
        });
        self.effect.as_ref().map(|effect| effect.effects(metric, tolerated)).unwrap_or_default()
    }

    /// Takes the next line into both tests.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) -> BlockUpdate {
        if tick.change == Some(Change::Window) {
            self.counts = Pair::default();
        }
        self.estimate(tick, line);
        let (update, compared) = match &mut self.abort {
            Abort::Requests(test) => {
                let part = of_requests(&self.events, line);
                self.non_inferiority.observe(tick, Some(part), None);
                test.observe(part.counts, part.left_out)
            }
            Abort::Conversions(test) => {
                let part = of_requests(&self.events, line);
                self.non_inferiority.observe(tick, Some(part), None);
                test.observe(part.counts, part.left_out)
            }
            Abort::Clients(test) => {
                let requests = line.requests();
                let first = self.events.of_first_requests(line, requests);
                let split = self.events.nominal_split(tick.weight.fraction());
                self.non_inferiority.observe(tick, first, Some(split));
                let counted = self.events.of_clients(line, requests);
                let (update, block) = test.observe(counted, tick.change, requests.stable == 0);
                (update, block.map(|block| clients(&block)))
            }
        };
        if let Some(compared) = compared {
            self.counts.merge(&self.events.roles(compared));
        }
        update
    }

    /// Takes the next line into the interval: with affinity clients at their first request.
    fn estimate(&mut self, tick: &TickContext, line: &Observation) {
        let Some(effect) = &mut self.effect else { return };
        let compared =
            |part: NonInferiorityTick| (!part.left_out).then(|| self.events.roles(part.counts));
        if tick.sticky {
            let requests = line.requests();
            let first = self.events.of_first_requests(line, requests);
            return effect.observe(first.and_then(compared), requests.sum(), tick.change);
        }
        // Without affinity a block may hold requests of two weights: see `blocks::Change`.
        let part = of_requests(&self.events, line);
        effect.observe(compared(part), part.size, None);
    }

    /// ln of the evidence that the canary is worse than tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        match &self.abort {
            Abort::Requests(test) => test.log_e(),
            Abort::Conversions(test) => test.log_e(),
            Abort::Clients(test) => test.log_e(),
        }
    }

    /// Whether the canary is certified in this step.
    pub(crate) const fn certified(&self) -> bool {
        self.non_inferiority.certified()
    }

    /// The non-inferiority test's figures.
    pub(crate) fn non_inferiority(&self) -> NonInferiorityFigures {
        self.non_inferiority.figures(matches!(self.abort, Abort::Clients(_)))
    }

    /// Both versions' figures since the test's start or the window's.
    pub(crate) const fn findings(&self) -> Findings {
        let unit = match self.abort {
            Abort::Requests(_) | Abort::Conversions(_) => FindingUnit::Requests,
            Abort::Clients(_) => FindingUnit::Clients,
        };
        let Tolerated { ratio, margin } = self.tolerated;
        Findings::Shares { unit, counts: self.counts, ratio, margin }
    }

    /// What the test needs for its next block.
    pub(crate) const fn missing(&self) -> Option<InsufficientData> {
        let have = match &self.abort {
            Abort::Requests(test) => test.open(),
            Abort::Conversions(test) => test.open(),
            Abort::Clients(test) => test.open(),
        };
        Some(InsufficientData::Block { have, need: FULL })
    }
}

/// A line's requests and events, as both tests of requests take them.
fn of_requests(events: &Events, line: &Observation) -> NonInferiorityTick {
    let counts = events.of_requests(line);
    let left_out = counts.stable.trials == 0;
    let size = counts.stable.trials.saturating_add(counts.canary.trials);
    NonInferiorityTick { counts: events.sides(counts), size, left_out }
}

fn clients(block: &ClientTick) -> Sides<Trials> {
    Sides {
        treatment: Trials { trials: block.seen.treatment, events: block.events.treatment },
        control: Trials { trials: block.seen.control, events: block.events.control },
    }
}
