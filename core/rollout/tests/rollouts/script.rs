//! Scripts: a rollout file and a list of what happens become a transcript.
//!
//! The file comes first, as JSON, up to a line `---`. Then one thing a line:
//!
//! ```text
//! envoys a b                 which Envoys there are (first)
//! rate 1000                  requests a second
//! failing 0.001 0.05         the share that fails: stable, canary
//! tick 10                    so many rounds of a second each
//! command promote-full       at the next round
//! down a / up a              an Envoy can't be reached / can again
//! restart-envoy a            it forgets its runtime
//! trip a                     its guard trips
//! kill-switch a              somebody throws it
//! owner a bob                somebody takes the rollout over
//! statistics off             they can't be read / on
//! gate 0 503                 what a gate answers; `gate 0 silence`: nothing
//! metric gpu 0.95            what Prometheus says; `metric gpu outage`
//! hooks off                  notifications are refused / on
//! clock 3600                 the host's clock jumps by so many seconds
//! restart                    the controller dies and comes back
//! ```

use std::fmt::Write;

use canary_judge::observation::Measurement;
use canary_rollout::StepResult;
use canary_rollout::action::Action;
use canary_rollout::inputs::{GateAnswer, OperatorCommand};
use canary_rollout::spec::Spec;

use crate::shell::{Kill, Shell};
use crate::world::World;

/// Plays a script; gives its transcript.
pub(crate) fn play(script: &str) -> String {
    let (file, lines) = script.split_once("\n---\n").unwrap();
    let spec = Spec::read(&serde_json::from_str(file).unwrap()).unwrap();
    let mut stage = Stage {
        world: World::new(&["a"]),
        shell: Shell::new(spec, "ctl", false),
        transcript: String::new(),
    };
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let _ = writeln!(stage.transcript, "> {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        stage.happens(&words);
    }
    stage.transcript
}

struct Stage {
    world: World,
    shell: Shell,
    transcript: String,
}

impl Stage {
    fn happens(&mut self, words: &[&str]) {
        match words {
            ["envoys", names @ ..] => self.world = World::new(names),
            ["rate", rate] => self.world.rate = rate.parse().unwrap(),
            ["failing", stable, canary] => {
                self.world.failing.stable = stable.parse().unwrap();
                self.world.failing.canary = canary.parse().unwrap();
            }
            ["tick", rounds] => self.ticks(rounds.parse().unwrap()),
            ["command", command] => self.shell.commands.push(read_command(command)),
            ["down", name] => self.world.proxy(name).down = Some("connection refused".to_owned()),
            ["up", name] => self.world.proxy(name).down = None,
            ["restart-envoy", name] => self.world.proxy(name).restart(),
            ["trip", name] => self.world.proxy(name).trip(),
            ["kill-switch", name] => self.world.proxy(name).runtime.enabled = Some(false),
            ["owner", name, owner] => {
                self.world.proxy(name).runtime.owner = Some((*owner).to_owned());
            }
            ["statistics", state] => self.world.readable = *state == "on",
            ["gate", gate, said] => {
                let gate = gate.parse().unwrap();
                let passed = said.starts_with('2');
                let answer = GateAnswer { gate, passed, said: (*said).to_owned() };
                self.shell.gates.insert(gate, (*said != "silence").then_some(answer));
            }
            ["metric", name, value] => {
                let outage = || Measurement::Outage("connection refused".to_owned());
                let measured = value
                    .parse()
                    .map_or_else(|_| outage(), |value| Measurement::Values(vec![value]));
                self.shell.metrics.insert((*name).to_owned(), measured);
            }
            ["hooks", state] => self.shell.hooks_work = *state == "on",
            ["clock", seconds] => self.shell.clock_offset += seconds.parse::<i64>().unwrap(),
            ["restart"] => {
                self.world.pass();
                self.shell.tick(&mut self.world, Some(Kill::BeforeJournal));
            }
            other => panic!("unknown: {other:?}"),
        }
    }

    /// Rounds; told are those in which something happens, and how it stands after the last.
    fn ticks(&mut self, rounds: u32) {
        let mut last = None;
        for _ in 0..rounds {
            self.world.pass();
            let stepped = self.shell.tick(&mut self.world, None);
            self.tell(&stepped);
            last = Some(stepped);
        }
        let Some(StepResult { state, blockers, .. }) = last else { return };
        let waits = serde_json::to_string(&blockers.waiting_for).unwrap();
        let in_force = self.world.in_force();
        let over = if state.is_over() { ", over" } else { "" };
        let phase = state.phase();
        let at = self.world.now;
        let _ = writeln!(self.transcript, "{at:>5}  {phase}{over}, {in_force} % in force; {waits}");
    }

    fn tell(&mut self, stepped: &StepResult) {
        let at = self.world.now;
        let mut say = |text: String| {
            let _ = writeln!(self.transcript, "{at:>5}    {text}");
        };
        for reply in &stepped.replies {
            match &reply.refused {
                None => say(format!("obeyed: {}", reply.command)),
                Some(why) => say(format!("refused: {}: {why:?}", reply.command)),
            }
        }
        for event in &stepped.events {
            say(serde_json::to_string(event).unwrap());
        }
        for action in &stepped.actions {
            match action {
                // Renewals are many and say nothing new.
                Action::Write { .. } if stepped.events.is_empty() => {}
                Action::Write { envoys, target, .. } => {
                    let lease = target.lease_seconds.map_or(0, |seconds| seconds);
                    let owner = target.owner.as_deref().unwrap_or("nobody");
                    say(format!(
                        "write {}: weight {}, enabled {}, window {}, lease {lease}, owner {owner}",
                        envoys.join(" "),
                        target.weight,
                        target.enabled,
                        target.window,
                    ));
                }
                Action::AskGate { gate, attempt } => say(format!("ask gate {gate}, try {attempt}")),
                Action::Deploy { role, version, attempt } => {
                    say(format!("deploy {version} into {role}'s place, call {attempt}"));
                }
                Action::CancelDeploy { attempt } => say(format!("cancel deploy {attempt}")),
                Action::Measure { metric } => say(format!("measure {metric}")),
                Action::Notify(notice) => say(format!(
                    "notify hook {} of {}, number {}, try {}",
                    notice.hook,
                    notice.topic.as_str(),
                    notice.number,
                    notice.attempt
                )),
            }
        }
    }
}

fn read_command(word: &str) -> OperatorCommand {
    serde_json::from_value(word.into()).unwrap()
}
