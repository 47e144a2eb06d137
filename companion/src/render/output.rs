//! Printing: results on stdout as text or JSON, messages on stderr; colors only on a terminal.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use crate::envoy::EnvoyReply;
use crate::error::{Error, Failure};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a terminal
    Text,
    /// One JSON document (with --watch, one per line)
    Json,
}

/// The outcome of a command on one Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvoyState {
    /// Its URL in results.
    pub(crate) url: String,
    /// What failed; `None` if nothing did.
    pub(crate) error: Option<String>,
}

impl EnvoyState {
    pub(crate) fn from_replies<T>(reports: &[EnvoyReply<T>]) -> Vec<Self> {
        let state = |report: &EnvoyReply<T>| {
            let error = report.result.as_ref().err().map(ToString::to_string);
            // Messages begin with the URL, which the result has already.
            let bare = |text: String| {
                let rest = text.strip_prefix(&report.url).and_then(|rest| rest.strip_prefix(": "));
                rest.map(str::to_owned).unwrap_or(text)
            };
            Self { url: report.url.clone(), error: error.map(bare) }
        };
        reports.iter().map(state).collect()
    }
}

/// Where and how results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    paint: Paint,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, paint: Paint::for_stdout() }
    }

    /// How the result is printed, for a command that writes it piece by piece.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints a result: a JSON document on one line, or text.
    pub(crate) fn print<J: Serialize>(
        &self,
        json: impl FnOnce() -> J,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Error> {
        match self.format {
            Format::Json => {
                let json = serde_json::to_string(&json());
                self.write(&format!("{}\n", json.map_err(|error| Error::Output(error.into()))?))
            }
            Format::Text => self.write(&text(self.paint)),
        }
    }

    /// Writes a text as it is.
    pub(crate) fn write(&self, text: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
    }

    /// Whether earlier output can be redrawn.
    pub(crate) fn redraws(&self) -> bool {
        self.format == Format::Text && io::stdout().is_terminal() && !dumb()
    }
}

/// Whether to color text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    colored: bool,
}

impl Paint {
    pub(crate) fn for_stdout() -> Self {
        Self { colored: colors_allowed(io::stdout().is_terminal()) }
    }

    pub(crate) fn for_stderr() -> Self {
        Self { colored: colors_allowed(io::stderr().is_terminal()) }
    }

    /// Paint that leaves text without colors.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { colored: false }
    }

    fn style(self, text: &str, style: Style) -> String {
        if self.colored { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.style(text, Style::new().bold())
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.style(text, AnsiColor::Green.on_default())
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.style(text, AnsiColor::Red.on_default().bold())
    }

    pub(crate) fn note(self, text: &str) -> String {
        self.style(text, AnsiColor::Cyan.on_default())
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.style(text, AnsiColor::Yellow.on_default().bold())
    }
}

/// Colors only on a terminal that has them, and never with NO_COLOR, whatever its value.
fn colors_allowed(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none() && !dumb()
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The same rule for what clap prints.
pub(crate) fn clap_colors() -> clap::ColorChoice {
    if colors_allowed(io::stderr().is_terminal() && io::stdout().is_terminal()) {
        clap::ColorChoice::Auto
    } else {
        clap::ColorChoice::Never
    }
}

/// Prints what failed and what to do next on stderr; each hint only once.
pub(crate) fn report(failure: &Failure, paint: &Paint) {
    let mut hints = Vec::new();
    for error in &failure.errors {
        message(&format!("{} {error}", paint.bad("error:")));
        if let Some(hint) = error.hint()
            && !hints.contains(&hint)
        {
            hints.push(hint);
        }
    }
    if failure.untouched {
        message("nothing was changed");
    }
    for hint in hints {
        message(&format!("{} {hint}", paint.note("hint:")));
    }
}

/// Prints a warning on stderr.
pub(crate) fn remark(text: &str) {
    message(&format!("{} {text}", Paint::for_stderr().warning("warning:")));
}

/// Prints a line on stderr.
pub(crate) fn message(line: &str) {
    // If stderr is closed, there is nowhere to report that.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
