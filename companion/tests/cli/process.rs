//! A `canaryctl` that keeps running: what it says, how it ends, and commands for it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Run, command, run};

/// The longest that a test waits for anything: 30 s, scaled by `CANARY_TEST_WAIT_FACTOR` as in the
/// integration tests.
pub(crate) fn patience() -> Duration {
    let factor = std::env::var("CANARY_TEST_WAIT_FACTOR").ok();
    Duration::from_secs(30).mul_f64(factor.map_or(1.0, |factor| factor.parse().unwrap()))
}

/// The lines of a file that a process may be writing: without a last one that isn't there in whole.
pub(crate) fn whole_lines(text: &str) -> std::str::Lines<'_> {
    text.rfind('\n').map_or("", |end| &text[..end]).lines()
}

/// The records of a journal so far.
#[track_caller]
pub(crate) fn records(journal: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(journal).unwrap();
    whole_lines(&text).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A controller that is running; it is killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where its interface is; empty until that was waited for.
    pub(crate) url: String,
    pub(crate) lines: mpsc::Receiver<String>,
    pub(crate) said: Vec<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts one, which may end at once.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        listen(child.stdout.take().unwrap(), sender.clone());
        listen(child.stderr.take().unwrap(), sender);
        Self { child, url: String::new(), lines, said: Vec::new() }
    }

    /// Waits for its interface.
    #[track_caller]
    pub(crate) fn with_interface(mut self) -> Self {
        let interface = self.line("interface: http");
        self.url = interface.split_whitespace().nth(1).unwrap().to_owned();
        self
    }

    /// Waits until a line is said; fails where none comes.
    #[track_caller]
    pub(crate) fn hears(&mut self, text: &str) {
        let _ = self.line(text);
    }

    /// The next line that says something, on stdout or stderr; waits for it.
    #[track_caller]
    #[must_use = "`hears` waits for a line that nobody needs"]
    pub(crate) fn line(&mut self, text: &str) -> String {
        let end = Instant::now() + patience();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no \"{text}\" in {:#?}", self.said),
            }
        }
    }

    /// Whether a line was heard until now. It neither waits nor fails.
    #[must_use = "it only tells: `hears` waits and fails"]
    pub(crate) fn said(&self, text: &str) -> bool {
        self.said.iter().any(|line| line.contains(text))
    }

    /// Waits for its end; gives the exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        let end = Instant::now() + patience();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.said.extend(self.lines.iter());
                return status.code().unwrap();
            }
            assert!(Instant::now() < end, "still running: {:#?}", self.said);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As `kill -9` does it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Runs a command of canaryctl against it.
    pub(crate) fn ctl(&self, args: &[&str]) -> Run {
        run(command(args).args(["--controller", &self.url]))
    }
}

/// Sends each line of a pipe on.
pub(crate) fn listen(from: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}
