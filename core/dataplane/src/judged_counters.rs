//! The counters of what is judged: requests and clients at the age `outcome_age`, and what was assigned.

use std::cell::RefCell;
use std::rc::Rc;

use canary_model::config::{Rollout, SignalBins};
use canary_model::role::Role;
use canary_model::stat_name::Metric;

use crate::assign::{Assignment, Reason};
use crate::clients::{ClientSet, SeenClients};
use crate::cohort::KeyHash;
use crate::control::Control;
use crate::effect::Effect;
use crate::host::Host;
use crate::instruments::PendingCounter;
use crate::judged::{
    ClientEntry, JudgedCounts, JudgedRequest, JudgedRequests, JudgedSlot, JudgedState,
    MAX_CONVERSIONS, NewRequest,
};
use crate::metrics::Definer;
use crate::shared::SharedRecord;
use crate::signal::SignalReading;
use crate::versions::VersionPlaces;

/// One rollout's requests that are still to be judged in one worker, and their counters. It is
/// complete in itself: if its worker ends first, the VM's other workers go on counting.
#[derive(Debug)]
pub(crate) struct JudgedCounters {
    rollout: String,
    /// The requests that haven't reached the age.
    pub(crate) requests: JudgedRequests,
    /// By the places of [`VersionPlaces`].
    versions: Vec<JudgedMetrics>,
    /// The clients, in a sticky rollout.
    clients: Option<JudgedClients>,
}

/// The clients of a sticky rollout, each counted once by all workers together.
#[derive(Debug)]
struct JudgedClients {
    /// Those that this VM knows of.
    seen: Rc<RefCell<SeenClients>>,
    /// Clients that were assigned in the window.
    assigned: SharedRecord<ClientSet>,
    /// Clients with a judged request in the window.
    judged: SharedRecord<ClientSet>,
    /// Clients that have failed in the window.
    failed: SharedRecord<ClientSet>,
    /// Clients that this VM has seen for the first time since the last tick.
    new: Vec<NewClient>,
}

/// A client that is new in this VM; another worker may have counted it.
#[derive(Clone, Copy, Debug)]
struct NewClient {
    window: u32,
    client: KeyHash,
    version: usize,
}

/// The counters of one role's version.
#[derive(Debug)]
pub(crate) struct JudgedMetrics {
    assigned: PendingCounter,
    total: PendingCounter,
    failure: PendingCounter,
    unanswered: PendingCounter,
    /// The conversions, by the signal's place in the configuration.
    conversions: Vec<Option<PendingCounter>>,
    /// The clients', in sticky rollouts.
    clients: Option<ClientMetrics>,
}

#[derive(Debug)]
struct ClientMetrics {
    total: PendingCounter,
    failure: PendingCounter,
    first_failure: PendingCounter,
    conversions: Vec<Option<PendingCounter>>,
}

impl JudgedMetrics {
    /// Defines the counters of one role under the version that it is counted under.
    pub(crate) fn new<H: Host>(definer: &Definer<'_, H>) -> Self {
        let counter = |metric| definer.counter(metric);
        let conversions = |metric: fn(&str) -> Metric<'_>| {
            let signals = definer.rollout.signals.iter();
            let converts = |bins: &SignalBins| matches!(bins, SignalBins::Conversion);
            signals
                .map(|signal| converts(&signal.bins).then(|| counter(metric(&signal.name))))
                .collect::<Vec<_>>()
        };
        let clients = definer.rollout.sticky().then(|| ClientMetrics {
            total: counter(Metric::ClientTotal),
            failure: counter(Metric::ClientFailure),
            first_failure: counter(Metric::ClientFirstFailure),
            conversions: conversions(|signal| Metric::SignalFirst { signal, bin: "converted" }),
        });
        Self {
            assigned: counter(Metric::AssignedTotal),
            total: counter(Metric::JudgedTotal),
            failure: counter(Metric::JudgedFailure),
            unanswered: counter(Metric::JudgedUnanswered),
            conversions: conversions(|signal| Metric::Signal { signal, bin: "converted" }),
            clients,
        }
    }

    /// Counts the requests of a slot; `present` says whether its window is the present one.
    fn count(&mut self, with_key: &JudgedCounts, without_key: &JudgedCounts, present: bool) {
        for counts in [with_key, without_key] {
            self.total.add(counts.judged().into());
            self.failure.add(counts.failed.into());
            self.unanswered.add(counts.unanswered.into());
            add_all(&mut self.conversions, &counts.converted);
        }
        if let Some(clients) = self.clients.as_mut().filter(|_| present) {
            clients.total.add(without_key.judged().into());
            clients.failure.add(without_key.failed.into());
            clients.first_failure.add(without_key.failed.into());
            add_all(&mut clients.conversions, &without_key.converted);
        }
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let single = [&mut self.assigned, &mut self.total, &mut self.failure, &mut self.unanswered];
        let counters = single.into_iter().chain(self.conversions.iter_mut().flatten());
        counters.for_each(|counter| counter.flush(effects));
        if let Some(ClientMetrics { total, failure, first_failure, conversions }) =
            &mut self.clients
        {
            let counters = [total, failure, first_failure].into_iter();
            let counters = counters.chain(conversions.iter_mut().flatten());
            counters.for_each(|counter| counter.flush(effects));
        }
    }
}

fn add_all(counters: &mut [Option<PendingCounter>], counts: &[u32; MAX_CONVERSIONS]) {
    for (counter, count) in counters.iter_mut().zip(counts) {
        if let Some(counter) = counter {
            counter.add(u64::from(*count));
        }
    }
}

impl JudgedCounters {
    /// Nothing counted yet. `seen` are the clients that this VM knows of, in a sticky rollout.
    pub(crate) fn new(
        rollout: &Rollout,
        seen: Option<Rc<RefCell<SeenClients>>>,
        host: &impl Host,
    ) -> Self {
        let clients = seen.clone().map(|seen| {
            let record = |kind| {
                let record = ClientSet::record(kind, &rollout.name);
                record.create(host, ClientSet::default);
                record
            };
            JudgedClients {
                seen,
                assigned: record("assigned"),
                judged: record("judged"),
                failed: record("failed"),
                new: Vec::new(),
            }
        });
        Self {
            rollout: rollout.name.clone(),
            requests: JudgedRequests::new(rollout.outcome_age, seen),
            versions: Vec::new(),
            clients,
        }
    }

    /// Adds the counters of the next place.
    pub(crate) fn add(&mut self, metrics: JudgedMetrics) {
        self.versions.push(metrics);
    }

    /// A request was assigned. Overridden ones are never counted, and inherited ones not as assigned,
    /// because another hop has split them.
    pub(crate) fn assigned(
        &mut self,
        assignment: &Assignment,
        versions: VersionPlaces,
        window: u32,
        conversions: u8,
        now_ns: u64,
    ) -> JudgedRequest {
        if assignment.is_override() {
            return JudgedRequest::default();
        }
        let role = assignment.role();
        let client = assignment.client().filter(|_| self.clients.is_some());
        if assignment.reason() != Reason::Inherited {
            self.count_assigned(versions.place(role), window, client);
        }
        let new = NewRequest { role, versions, window, client, conversions };
        self.requests.assigned(new, now_ns)
    }

    fn count_assigned(&mut self, version: usize, window: u32, client: Option<KeyHash>) {
        match (client, &mut self.clients) {
            (Some(client), Some(clients)) => {
                if clients.seen.borrow_mut().assigned.insert(window, client) {
                    clients.new.push(NewClient { window, client, version });
                }
            }
            _ => {
                if let Some(metrics) = self.versions.get_mut(version) {
                    metrics.assigned.add(1);
                }
            }
        }
    }

    /// Counts the requests that have reached the age, and the clients that are new since the last
    /// tick. `window` is the generation of the present window: clients of another don't count.
    pub(crate) fn tick(&mut self, window: u32, now_ns: u64, host: &impl Host) {
        self.count_new_clients(host);
        let mut entries = Vec::new();
        while let Some(slot) = self.requests.take_due(now_ns) {
            let present = slot.window == window;
            self.count_slot(&slot, present);
            if present {
                let of = |entry: &ClientEntry| (slot.versions.place(entry.role), *entry);
                entries.extend(slot.clients.iter().map(of));
            }
        }
        self.count_entries(window, &entries, host);
    }

    /// Counts as the last [`tick`](Self::tick), for a worker that has ended.
    pub(crate) fn tick_alone(&mut self, now_ns: u64, host: &impl Host) {
        if let Ok(control) = Control::record(&self.rollout).read(host) {
            self.tick(control.window_generation(), now_ns, host);
        }
    }

    fn count_new_clients(&mut self, host: &impl Host) {
        let Some(clients) = self.clients.as_mut().filter(|clients| !clients.new.is_empty()) else {
            return;
        };
        let new = std::mem::take(&mut clients.new);
        let counts = insert_all(&clients.assigned, host, &new, |one| (one.window, one.client));
        for (one, _) in new.iter().zip(counts).filter(|(_, counts)| *counts) {
            if let Some(metrics) = self.versions.get_mut(one.version) {
                metrics.assigned.add(1);
            }
        }
    }

    fn count_slot(&mut self, slot: &JudgedSlot, present: bool) {
        for role in Role::ALL {
            if let Some(metrics) = self.versions.get_mut(slot.versions.place(role)) {
                metrics.count(slot.counts_of(role, true), slot.counts_of(role, false), present);
            }
        }
    }

    /// Counts the clients whose first judged request or first failure has reached the age. A client
    /// whose first failure is counted has been judged, whichever of its requests that was.
    fn count_entries(&mut self, window: u32, entries: &[(usize, ClientEntry)], host: &impl Host) {
        let Some(clients) = &self.clients else {
            return;
        };
        let judged = |(_, entry): &&(usize, ClientEntry)| {
            matches!(entry.state, JudgedState::Begun | JudgedState::Failed)
        };
        let judged: Vec<_> = entries.iter().filter(judged).copied().collect();
        let has_failed = |(_, entry): &&(usize, ClientEntry)| entry.state == JudgedState::Failed;
        let failed: Vec<_> = judged.iter().filter(has_failed).copied().collect();
        let key = |(_, entry): &(usize, ClientEntry)| (window, entry.client);
        let first = insert_all(&clients.judged, host, &judged, key);
        let newly_failed = insert_all(&clients.failed, host, &failed, key);
        for ((version, entry), _) in judged.iter().zip(first).filter(|(_, first)| *first) {
            if let Some(metrics) = self.clients_of(*version) {
                metrics.total.add(1);
                metrics.first_failure.add(u64::from(entry.state == JudgedState::Failed));
                let converted = entry.state == JudgedState::Begun;
                for (place, counter) in metrics.conversions.iter_mut().enumerate() {
                    if let Some(counter) = counter
                        && converted
                        && entry.conversions & (1 << place) != 0
                    {
                        counter.add(1);
                    }
                }
            }
        }
        for ((version, _), _) in failed.iter().zip(newly_failed).filter(|(_, newly)| *newly) {
            if let Some(metrics) = self.clients_of(*version) {
                metrics.failure.add(1);
            }
        }
    }

    fn clients_of(&mut self, version: usize) -> Option<&mut ClientMetrics> {
        self.versions.get_mut(version)?.clients.as_mut()
    }

    /// Hands what has been counted to Envoy.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.versions.iter_mut().for_each(|metrics| metrics.flush(effects));
    }
}

/// Takes the conversions out of a request's readings: a bit for each signal's place. They count at the
/// age, all others at the request's end.
pub(crate) fn take_conversions(rollout: &Rollout, readings: &mut Vec<SignalReading>) -> u8 {
    let mut conversions = 0;
    readings.retain(|reading| {
        let signal = rollout.signals.get(reading.signal);
        let converts = signal.is_some_and(|signal| signal.bins == SignalBins::Conversion);
        if converts && reading.signal < MAX_CONVERSIONS {
            conversions |= 1 << reading.signal;
        }
        !converts
    });
    conversions
}

/// Adds clients to a shared set, in order; says of each whether it is new. If the set can't be
/// written, all are: rather twice, by two workers, than never.
fn insert_all<T>(
    record: &SharedRecord<ClientSet>,
    host: &impl Host,
    clients: &[T],
    key: impl Fn(&T) -> (u32, KeyHash),
) -> Vec<bool> {
    if clients.is_empty() {
        return Vec::new();
    }
    let insert = |set: &mut ClientSet| {
        let insert = |client| {
            let (window, client) = key(client);
            set.insert(window, client)
        };
        clients.iter().map(insert).collect::<Vec<_>>()
    };
    record.update(host, insert).map_or_else(|| vec![true; clients.len()], |(_, new)| new)
}

#[cfg(test)]
mod tests;
