//! Reports progress: a live table on a terminal, otherwise a line (or a JSON document) per event.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;

use crate::commands::service::print_event;
use crate::controller::channels::Reporter;
use crate::controller::engine::Engine;
use crate::controller::status::{PastEvent, Status};
use crate::error::Error;
use crate::journal::timestamp;
use crate::render::{self, Output, Room, Screen, messages};

/// How many events the terminal shows below the table.
const EVENTS_SHOWN: usize = 6;

/// Reports a rollout's progress on stdout.
#[derive(Debug)]
pub(super) struct ProgressSink {
    output: Output,
    screen: Screen,
    recent: Vec<PastEvent>,
}

impl ProgressSink {
    pub(super) fn new(output: Output, address: SocketAddr, engine: &Engine) -> Self {
        let journal = engine.journal().path().display();
        render::message(&format!("interface: http://{address}   journal: {journal}"));
        let past = engine.recent().iter();
        let recent = past.map(|(at, event)| render::past_event(at, event, engine.spec())).collect();
        Self { output, screen: Screen::default(), recent }
    }
}

impl Reporter for ProgressSink {
    fn describe(&self, event: &RolloutEvent, spec: &Spec) -> String {
        messages::event(event, spec)
    }

    fn happened(
        &mut self,
        events: &[RolloutEvent],
        spec: &Spec,
        status: &Status,
    ) -> Result<(), Error> {
        let at = timestamp(SystemTime::now());
        for event in events {
            if self.output.redraws() {
                self.recent.push(render::past_event(&at, event, spec));
            } else {
                let text = messages::event(event, spec);
                print_event(&self.output, &at, event, &text, status)?;
            }
        }
        let excess = self.recent.len().saturating_sub(EVENTS_SHOWN);
        self.recent.drain(..excess);
        Ok(())
    }

    fn looked(&mut self, status: &Status) -> Result<(), Error> {
        if !self.output.redraws() {
            return Ok(());
        }
        let status = Status { recent: self.recent.clone(), ..status.clone() };
        let room = Room::on(&self.output);
        let text = |paint| render::status_text(&status, paint, room);
        self.screen.show(&self.output, || &status, text)
    }

    fn shows_reason(&self) -> bool {
        self.output.redraws()
    }

    fn undelivered(&mut self, notice: &Notification, spec: &Spec, within: Duration) {
        self.remark(&messages::undelivered(notice, spec, within));
    }

    fn inform(&mut self, text: &str) {
        self.screen.leave();
        render::message(text);
    }

    fn remark(&mut self, text: &str) {
        self.screen.leave();
        render::remark(text);
    }
}
