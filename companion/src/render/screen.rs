//! Showing a result again and again: over the last one on a terminal, below it elsewhere.

use serde::Serialize;

use super::output::{Output, Paint};
use crate::error::Error;

/// A terminal that does not say how large it is.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

impl Size {
    fn of_stdout() -> Self {
        let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) else { return USUAL };
        let or = |given: u16, usual| if given == 0 { usual } else { usize::from(given) };
        Self { columns: or(size.ws_col, USUAL.columns), rows: or(size.ws_row, USUAL.rows) }
    }

    /// As much of a text as is surely drawn where it is meant: a line that wraps, or scrolls away,
    /// could not be drawn over.
    fn clip(self, text: &str) -> String {
        let lines = text.lines().take(self.rows.saturating_sub(1).max(1));
        lines.map(|line| format!("{}\n", clipped(line, self.columns))).collect()
    }
}

/// A line of so many characters at most; what colours it takes no room and is kept.
fn clipped(line: &str, columns: usize) -> String {
    let (mut kept, mut width, mut escape) = (String::new(), 0, false);
    for c in line.chars() {
        if escape || c == '\u{1b}' {
            escape = !c.is_ascii_alphabetic();
            kept.push(c);
        } else if width < columns {
            width += 1;
            kept.push(c);
        }
    }
    kept
}

/// What stands on the screen from the last showing.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: usize,
    /// Whether something else was written below it.
    left: bool,
}

impl Screen {
    /// Shows a result in place of the last one: drawn over it on a terminal; else a JSON document a
    /// line, or texts with an empty line between them.
    pub(crate) fn show<J: Serialize>(
        &mut self,
        output: &Output,
        json: impl FnOnce() -> J,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Error> {
        let (redraws, before) = (output.redraws() && !self.left, self.lines);
        let mut lines = 0;
        output.print(json, |paint| {
            let text = text(paint);
            let text = if output.redraws() { Size::of_stdout().clip(&text) } else { text };
            lines = text.lines().count();
            match before {
                0 => text,
                // Up to the first line of the last showing, and clear from there.
                _ if redraws => format!("\u{1b}[{before}F\u{1b}[J{text}"),
                _ => format!("\n{text}"),
            }
        })?;
        (self.lines, self.left) = (lines, false);
        Ok(())
    }

    /// Leaves the last showing as it stands: something else was written below it.
    pub(crate) fn leave(&mut self) {
        self.left = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_wrap_or_scroll_is_cut_off() {
        let size = Size { columns: 5, rows: 3 };
        assert_eq!(size.clip("a\nabcdefg\nlost\nlost"), "a\nabcde\n");
        assert_eq!(clipped("\u{1b}[1mabcdefg\u{1b}[0m", 5), "\u{1b}[1mabcde\u{1b}[0m");
        assert_eq!(clipped("·····…", 5), "·····");
    }
}
