//! Web hooks: gates that must consent, and notifications that must arrive. Neither keeps a rollback
//! waiting.

use std::time::Duration;

use super::StepContext;
use crate::action::{Action, Notification};
use crate::event::RolloutEvent;
use crate::inputs::{DeliveryReport, GateAnswer};
use crate::spec::GatePosition;
use crate::state::Outgoing;

/// How often a notification is tried before it is given up: over some five minutes.
const TRIES: u32 = 10;
/// The most notifications on their way; beyond that the oldest are given up.
const MOST_NOTICES: usize = 200;
/// The longest that lies between two tries.
const LONGEST_WAIT: u64 = 60;
/// After this long an answer will not come any more: the controller was restarted in between.
const LOST: Duration = Duration::from_secs(60);
/// What an answer may take longer than its timeout.
const SLACK: Duration = Duration::from_secs(5);

impl StepContext<'_> {
    /// Takes what gates answered and what became of notifications.
    pub(super) fn handle_responses(&mut self, gates: &[GateAnswer], notified: &[DeliveryReport]) {
        for answer in gates {
            self.answered(answer);
        }
        for delivery in notified {
            self.delivered(*delivery);
        }
    }

    fn answered(&mut self, answer: &GateAnswer) {
        let now = self.state.clock.passed;
        // Nobody asked, or it was asked in an attempt before this one.
        let Some(book) = self.state.gates.get_mut(&answer.gate) else { return };
        if book.passed {
            return;
        }
        let gate = answer.gate;
        let said = book.said.replace(answer.said.clone());
        book.passed = answer.passed;
        if answer.passed {
            self.events.push(RolloutEvent::GatePassed { gate });
            return;
        }
        book.again = now.saturating_add(wait_after(book.attempts));
        // It is asked again and again; only a new answer is news.
        if said.as_ref() != Some(&answer.said) {
            let said = answer.said.clone();
            self.events.push(RolloutEvent::GateHeld { gate, said });
        }
    }

    /// Whether all gates before something have consented; those that have not are asked.
    pub(super) fn passes(&mut self, before: GatePosition) -> bool {
        let now = self.state.clock.passed;
        let mut passed = true;
        let gates = self.spec.gates.iter().enumerate();
        for (index, gate) in gates.filter(|(_, gate)| gate.before == before) {
            let book = self.state.gates.entry(index).or_default();
            passed &= book.passed;
            if !book.passed && book.again <= now {
                book.attempts = book.attempts.saturating_add(1);
                book.again = now.saturating_add(gate.timeout).saturating_add(SLACK);
                let attempt = book.attempts;
                self.actions.push(Action::AskGate { gate: index, attempt });
            }
        }
        passed
    }

    fn delivered(&mut self, delivery: DeliveryReport) {
        let now = self.state.clock.passed;
        let outbox = &mut self.state.outbox;
        let Some(at) = outbox.iter().position(|out| out.notice.number == delivery.notice) else {
            return;
        };
        let Some(out) = outbox.get_mut(at) else { return };
        if !delivery.delivered && out.notice.attempt < TRIES {
            out.again = now.saturating_add(wait_after(out.notice.attempt));
            return;
        }
        let lost = out.notice.lost();
        outbox.remove(at);
        if !delivery.delivered {
            self.events.push(lost);
        }
    }

    /// Puts what happened on its way, and sends what is due.
    pub(super) fn notify(&mut self) {
        let now = self.state.clock.passed;
        for event in self.events.clone() {
            self.post(&event);
        }
        let excess = self.state.outbox.len().saturating_sub(MOST_NOTICES);
        for out in self.state.outbox.drain(..excess) {
            self.events.push(out.notice.lost());
        }
        for out in self.state.outbox.iter_mut().filter(|out| out.again <= now) {
            out.notice.attempt = out.notice.attempt.saturating_add(1);
            out.again = now.saturating_add(LOST);
            self.actions.push(Action::Notify(out.notice.clone()));
        }
    }

    fn post(&mut self, event: &RolloutEvent) {
        let Some(topic) = event.topic() else { return };
        let hooks = self.spec.notify.iter().enumerate();
        for (hook, _) in hooks.filter(|(_, hook)| hook.on.contains(&topic)) {
            self.state.notices = self.state.notices.saturating_add(1);
            let number = self.state.notices;
            let notice = Notification { number, hook, topic, event: event.clone(), attempt: 0 };
            self.state.outbox.push(Outgoing { notice, again: self.state.clock.passed });
        }
    }
}

/// Seconds that double with each try, a minute at most.
fn wait_after(attempts: u32) -> Duration {
    Duration::from_secs(
        1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX).min(LONGEST_WAIT),
    )
}
