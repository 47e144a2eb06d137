//! Reports progress: a live table on a terminal, otherwise a line (or a JSON document) per event.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;

use crate::commands::service::print_event;
use crate::controller::channels::Reporter;
use crate::controller::engine::Engine;
use crate::controller::status::Status;
use crate::error::Error;
use crate::journal::timestamp;
use crate::render::{self, Output, Screen, messages};

/// How many events the terminal shows below the table.
const EVENTS_SHOWN: usize = 6;

/// Reports a rollout's progress on stdout.
#[derive(Debug)]
pub(super) struct ProgressSink {
    output: Output,
    screen: Screen,
    recent: Vec<String>,
}

impl ProgressSink {
    pub(super) fn new(output: Output, address: SocketAddr, engine: &Engine) -> Self {
        let journal = engine.journal().path().display();
        render::message(&format!("interface: http://{address}   journal: {journal}"));
        Self { output, screen: Screen::default(), recent: Vec::new() }
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
            let text = messages::event(event, spec);
            if self.output.redraws() {
                // The table above has the reason already.
                let text = messages::brief(event).unwrap_or(text);
                self.recent.push(format!("  {at}  {text}\n"));
                continue;
            }
            print_event(&self.output, &at, event, &text, status)?;
        }
        let excess = self.recent.len().saturating_sub(EVENTS_SHOWN);
        self.recent.drain(..excess);
        Ok(())
    }

    fn looked(&mut self, status: &Status) -> Result<(), Error> {
        if !self.output.redraws() {
            return Ok(());
        }
        let recent = &self.recent;
        let room = render::rows(&self.output).unwrap_or(usize::MAX);
        let room = room.saturating_sub(recent.len() + usize::from(!recent.is_empty()));
        let text = |paint| {
            let table = render::status_text_within(status, paint, room);
            if recent.is_empty() { table } else { format!("{table}\n{}", recent.concat()) }
        };
        self.screen.show(&self.output, || status, text)
    }

    fn shows_reason(&self) -> bool {
        self.output.redraws()
    }

    fn undelivered(&mut self, notice: &Notification, spec: &Spec, within: Duration) {
        self.remark(&messages::undelivered(notice, spec, within));
    }

    fn remark(&mut self, text: &str) {
        self.screen.leave();
        render::remark(text);
    }
}
