//! Requests on their way to the age at which the judge counts them (`outcome_age`).
//!
//! Totals and failures that are compared must belong to the same requests, assigned together and
//! examined at the same age; counted when they end, requests mislead the judge whenever weights change
//! or versions differ in duration (STATISTICS 2d). So requests that are assigned within a quarter of a
//! second share a slot, each request moves between the slot's counts as its outcome becomes known, and
//! a slot that has reached the age is counted at one go. What happens to its requests afterwards is
//! not judged.
//!
//! In a sticky rollout clients count, at their first request that is judged. Which request that is
//! turns out only at the age, because one that has no answer by then leaves its client unseen. So a
//! request gets an entry of its own in the slot as long as none of its client's requests is answered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use canary_model::role::Role;

use crate::clients::SeenClients;
use crate::cohort::KeyHash;
use crate::versions::VersionPlaces;

/// How long a slot takes requests: a quarter of a second.
const SLOT_NS: u64 = 250_000_000;
/// At an age of more than a minute, slots are longer, so that there are at most about so many.
const MAX_SLOTS: u64 = 256;
/// At most so many entries of clients wait at a time. A client without an entry isn't counted, on
/// either version.
const MAX_ENTRIES: usize = 65_536;
/// A rollout has at most so many signals, so that a byte holds a request's conversions.
pub const MAX_CONVERSIONS: usize = 8;

/// The requests of one rollout in one VM that haven't reached the age yet.
#[derive(Debug)]
pub struct JudgedRequests {
    age_ns: u64,
    slot_ns: u64,
    slots: VecDeque<JudgedSlot>,
    /// The number of the first slot. Numbers count up and wrap.
    first: u32,
    /// The entries in all slots.
    entries: usize,
    /// What the VM knows of the clients of a sticky rollout.
    clients: Option<Rc<RefCell<SeenClients>>>,
}

/// Requests that were assigned together, under the same versions and in the same window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedSlot {
    began_ns: u64,
    /// The versions that the requests were assigned under.
    pub versions: VersionPlaces,
    /// The generation of the window that they were assigned in.
    pub window: u32,
    /// The counts of requests that carry their client's key, by role.
    with_key: [JudgedCounts; 2],
    /// The counts of all other requests, by role. In a sticky rollout these have no key, and each is
    /// its own client.
    without_key: [JudgedCounts; 2],
    /// In a sticky rollout: what may be a client's first judged request or first failure.
    pub clients: Vec<ClientEntry>,
}

/// The requests of one role in a slot, by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedCounts {
    /// The response hasn't begun, and the request hasn't failed.
    pub unanswered: u32,
    /// A response that isn't a failure has begun.
    pub begun: u32,
    /// Requests that have failed.
    pub failed: u32,
    /// Of those that have begun: the conversions, by the signal's place in the configuration.
    pub converted: [u32; MAX_CONVERSIONS],
}

/// A request that may be its client's first judged one or its first failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// The key of its client.
    pub client: KeyHash,
    /// The role that its request counts for.
    pub role: Role,
    /// What is known of the request.
    pub state: JudgedState,
    /// The conversions that the request is, a bit for each signal's place.
    pub conversions: u8,
}

/// What is known of a request so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgedState {
    /// No response has begun, or the client left before one did.
    Unanswered,
    /// A response that isn't a failure has begun.
    Begun,
    /// It has failed. That is final.
    Failed,
    /// The kill switch sent it to stable, so it isn't compared. That is final.
    Diverted,
}

/// A request that was just assigned.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest {
    /// The role that it counts for.
    pub role: Role,
    /// The versions that it is assigned under.
    pub versions: VersionPlaces,
    /// The generation of the window that it is assigned in.
    pub window: u32,
    /// In a sticky rollout its client, if it has a key.
    pub client: Option<KeyHash>,
    /// The conversions that it is, a bit for each signal's place.
    pub conversions: u8,
}

/// One request's place among them. The default is a request that never counts.
#[derive(Clone, Debug, Default)]
pub struct JudgedRequest(Option<Followed>);

#[derive(Clone, Debug)]
struct Followed {
    /// The number of its slot.
    slot: u32,
    /// The place of its entry in the slot.
    entry: Option<u32>,
    state: JudgedState,
    new: NewRequest,
}

impl JudgedRequests {
    /// No requests yet, for a rollout with this `outcome_age`. `clients` are those of a sticky rollout.
    pub fn new(age: Duration, clients: Option<Rc<RefCell<SeenClients>>>) -> Self {
        let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let slot_ns = SLOT_NS.max(age_ns / MAX_SLOTS);
        Self { age_ns, slot_ns, slots: VecDeque::new(), first: 0, entries: 0, clients }
    }

    /// Whether every request has been counted.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A compared request was assigned.
    pub fn assigned(&mut self, new: NewRequest, now_ns: u64) -> JudgedRequest {
        let open = self.slots.back().is_some_and(|slot| {
            slot.versions == new.versions
                && slot.window == new.window
                && now_ns < slot.began_ns.saturating_add(self.slot_ns)
        });
        if !open {
            self.slots.push_back(JudgedSlot::new(&new, now_ns));
        }
        // Lossless: there are a few hundred slots.
        let slot = self.first.wrapping_add(self.slots.len() as u32).wrapping_sub(1);
        let mut followed = Followed { slot, entry: None, state: JudgedState::Unanswered, new };
        let answered = |client| {
            let clients = self.clients.as_ref().map(|clients| clients.borrow());
            clients.is_some_and(|clients| clients.answered.contains(new.window, client))
        };
        let unseen = new.client.filter(|client| !answered(*client));
        if let Some(slot) = self.slots.back_mut() {
            *slot.counts(&new).in_state(JudgedState::Unanswered) += 1;
            if let Some(client) = unseen.filter(|_| self.entries < MAX_ENTRIES) {
                self.entries += 1;
                followed.entry = Some(slot.enter(client, &followed));
            }
        }
        JudgedRequest(Some(followed))
    }

    /// A response that isn't a failure has begun.
    pub fn began(&mut self, request: &mut JudgedRequest) {
        if request.is(&[JudgedState::Unanswered]) {
            self.change(request, JudgedState::Begun, 0);
        }
    }

    /// The request has failed, whether its response had begun or not.
    pub fn failed(&mut self, request: &mut JudgedRequest) {
        if request.is(&[JudgedState::Unanswered, JudgedState::Begun]) {
            self.change(request, JudgedState::Failed, 0);
        }
    }

    /// The client left before the response began, or ended a gRPC stream. A request that has failed
    /// stays failed.
    pub fn abandoned(&mut self, request: &mut JudgedRequest) {
        if request.is(&[JudgedState::Begun]) {
            self.change(request, JudgedState::Unanswered, 0);
        }
    }

    /// The kill switch sent the request to stable: it isn't compared, not even if it has failed.
    pub fn diverted(&mut self, request: &mut JudgedRequest) {
        self.change(request, JudgedState::Diverted, 0);
    }

    /// Its response says that the request is these conversions, too: a bit for each signal's place.
    pub fn converted(&mut self, request: &mut JudgedRequest, conversions: u8) {
        if let Some(state) = request.0.as_ref().map(|followed| followed.state)
            && conversions != 0
        {
            self.change(request, state, conversions);
        }
    }

    /// Changes what is known of a request. Nothing happens if it was counted already.
    fn change(&mut self, request: &mut JudgedRequest, state: JudgedState, conversions: u8) {
        let Some(followed) = &mut request.0 else {
            return;
        };
        let place = followed.slot.wrapping_sub(self.first) as usize;
        let Some(slot) = self.slots.get_mut(place) else {
            request.0 = None;
            return;
        };
        let before = (followed.state, followed.new.conversions);
        followed.state = state;
        followed.new.conversions |= conversions;
        slot.counts(&followed.new).change(before, (state, followed.new.conversions));
        let NewRequest { window, client: Some(client), .. } = followed.new else {
            return;
        };
        let Some(clients) = &self.clients else {
            return;
        };
        let newly_failed = clients.borrow_mut().change(window, client, followed.entry, state);
        if let Some(entry) = followed.entry.and_then(|entry| slot.clients.get_mut(entry as usize)) {
            (entry.state, entry.conversions) = (state, followed.new.conversions);
        } else if newly_failed && self.entries < MAX_ENTRIES {
            self.entries += 1;
            followed.entry = Some(slot.enter(client, followed));
        }
    }

    /// The next slot whose last request has reached the age: what its requests do from now on is
    /// ignored.
    pub fn take_due(&mut self, now_ns: u64) -> Option<JudgedSlot> {
        let ripe_ns = self.slot_ns + self.age_ns;
        self.slots.front().filter(|slot| now_ns.saturating_sub(slot.began_ns) >= ripe_ns)?;
        let slot = self.slots.pop_front()?;
        self.first = self.first.wrapping_add(1);
        self.entries -= slot.clients.len();
        Some(slot)
    }
}

impl JudgedRequest {
    fn is(&self, states: &[JudgedState]) -> bool {
        self.0.as_ref().is_some_and(|followed| states.contains(&followed.state))
    }
}

impl SeenClients {
    /// What is known of a client's request has changed; `entry` is the request's, if it has one.
    /// Returns whether it is the client's first failure in this VM.
    fn change(
        &mut self,
        window: u32,
        client: KeyHash,
        entry: Option<u32>,
        state: JudgedState,
    ) -> bool {
        match state {
            JudgedState::Begun | JudgedState::Failed => {
                self.answered.insert(window, client);
            }
            // It isn't judged, so the client's next request may be its first.
            JudgedState::Unanswered | JudgedState::Diverted if entry.is_some() => {
                self.answered.remove(window, client);
                self.failed.remove(window, client);
            }
            JudgedState::Unanswered | JudgedState::Diverted => {}
        }
        state == JudgedState::Failed && self.failed.insert(window, client)
    }
}

impl JudgedSlot {
    fn new(first: &NewRequest, now_ns: u64) -> Self {
        Self {
            began_ns: now_ns,
            versions: first.versions,
            window: first.window,
            with_key: [JudgedCounts::default(); 2],
            without_key: [JudgedCounts::default(); 2],
            clients: Vec::new(),
        }
    }

    /// The counts of one role's requests without a key (`false`) or with one (`true`).
    pub fn counts_of(&self, role: Role, has_key: bool) -> &JudgedCounts {
        let [stable, canary] = if has_key { &self.with_key } else { &self.without_key };
        if role == Role::Stable { stable } else { canary }
    }

    fn counts(&mut self, request: &NewRequest) -> &mut JudgedCounts {
        let has_key = request.client.is_some();
        let [stable, canary] = if has_key { &mut self.with_key } else { &mut self.without_key };
        if request.role == Role::Stable { stable } else { canary }
    }

    fn enter(&mut self, client: KeyHash, request: &Followed) -> u32 {
        let NewRequest { role, conversions, .. } = request.new;
        self.clients.push(ClientEntry { client, role, state: request.state, conversions });
        // Lossless: there are at most MAX_ENTRIES.
        self.clients.len() as u32 - 1
    }
}

impl JudgedCounts {
    /// Requests that are judged: they have begun or failed.
    pub fn judged(&self) -> u32 {
        self.begun + self.failed
    }

    fn in_state(&mut self, state: JudgedState) -> &mut u32 {
        match state {
            JudgedState::Begun => &mut self.begun,
            JudgedState::Failed => &mut self.failed,
            JudgedState::Unanswered | JudgedState::Diverted => &mut self.unanswered,
        }
    }

    /// A request's state and conversions change.
    fn change(&mut self, before: (JudgedState, u8), after: (JudgedState, u8)) {
        if before.0 != JudgedState::Diverted {
            *self.in_state(before.0) -= 1;
        }
        if after.0 != JudgedState::Diverted {
            *self.in_state(after.0) += 1;
        }
        for (place, count) in self.converted.iter_mut().enumerate() {
            let counts = |(state, conversions): (JudgedState, u8)| {
                u32::from(state == JudgedState::Begun && conversions & (1 << place) != 0)
            };
            *count = *count + counts(after) - counts(before);
        }
    }
}

// Proptest is for the host alone.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
