//! Showing a result again and again: over the last one on a terminal, below it elsewhere.

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use super::output::{Output, Paint};
use crate::error::Error;

/// The size of a terminal that doesn't say.
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

    /// As much of a text as surely fits: a line that wraps, or scrolls away, couldn't be redrawn. What
    /// is cut off is marked.
    fn clip(self, text: &str) -> String {
        let (rows, lines) = (self.rows.saturating_sub(1).max(1), text.lines().count());
        let shown = if lines > rows { rows.saturating_sub(1) } else { rows };
        let kept = text.lines().take(shown);
        let mut kept: String =
            kept.map(|line| format!("{}\n", clipped(line, self.columns))).collect();
        if lines > rows {
            let more = format!("  … {} more lines", lines - shown);
            kept += &format!("{}\n", clipped(&more, self.columns));
        }
        kept
    }
}

/// A line of at most so many columns; its end is an ellipsis if it was longer. Escape sequences take no
/// columns and are kept.
fn clipped(line: &str, columns: usize) -> String {
    let fits = width(line) <= columns;
    let room = if fits { columns } else { columns.saturating_sub(1) };
    let (mut kept, mut used, mut cut) = (String::new(), 0, false);
    for (c, columns) in characters(line) {
        used += columns.unwrap_or(0);
        if columns.is_none() || used <= room {
            kept.push(c);
        } else if !cut {
            cut = true;
            kept.push('…');
        }
    }
    kept
}

/// How many columns a line takes.
fn width(line: &str) -> usize {
    characters(line).filter_map(|(_, columns)| columns).sum()
}

/// A line's characters, each with the columns that it takes; `None` for those of escape sequences.
fn characters(line: &str) -> impl Iterator<Item = (char, Option<usize>)> + '_ {
    line.chars().scan(false, |escape, c| {
        let in_sequence = *escape || c == '\u{1b}';
        *escape = in_sequence && !c.is_ascii_alphabetic();
        Some((c, (!in_sequence).then(|| c.width().unwrap_or(0))))
    })
}

/// How much a text may take, in characters and lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) columns: usize,
    pub(crate) lines: usize,
}

impl Room {
    /// The room in a file or a pipe.
    pub(crate) const UNLIMITED: Self = Self { columns: usize::MAX, lines: usize::MAX };

    /// The room for a text that is redrawn; unlimited if the output isn't redrawn.
    pub(crate) fn on(output: &Output) -> Self {
        if !output.redraws() {
            return Self::UNLIMITED;
        }
        let Size { columns, rows } = Size::of_stdout();
        Self { columns, lines: rows.saturating_sub(1) }
    }
}

/// A line that is continued below, so many columns from the left, where it is too long. It breaks between
/// words; a word that is too long for a line stays whole. Spaces that must not break (U+00A0) become usual ones.
pub(crate) fn wrapped(line: &str, indent: usize, room: Room) -> String {
    if width(line) <= room.columns {
        return format!("{line}\n").replace('\u{a0}', " ");
    }
    let (mut text, mut used) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        if used > indent && used + width(word.trim_end()) > room.columns {
            text.truncate(text.trim_end().len());
            text += &format!("\n{:indent$}", "");
            used = indent;
        }
        text += word;
        used += width(word);
    }
    text.truncate(text.trim_end().len());
    text.replace('\u{a0}', " ") + "\n"
}

/// A text over the last one of `before` lines. Each line is cleared only behind what it shows, and terminals
/// that can do so show all at once (mode 2026; others ignore it), so nothing flickers.
fn redrawn(text: &str, before: usize) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\u{1b}[K\n")).collect();
    format!("\u{1b}[?2026h\u{1b}[{before}F{lines}\u{1b}[J\u{1b}[?2026l")
}

/// What the screen shows since the last time.
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
                _ if redraws => redrawn(&text, before),
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
    fn long_lines_go_on_below_their_beginning() {
        let room = |columns| Room { columns, lines: 9 };
        assert_eq!(
            wrapped("  next  one two three", 8, room(16)),
            "  next  one two\n        three\n"
        );
        assert_eq!(wrapped("  next  one two three", 8, room(80)), "  next  one two three\n");
        assert_eq!(
            wrapped("  next  onetwothree four", 8, room(12)),
            "  next  onetwothree\n        four\n"
        );
        let joined = wrapped("a\u{a0}b c\u{a0}d", 0, room(4));
        assert_eq!(joined, "a b\nc d\n", "what belongs together stays so");
    }

    #[test]
    fn redrawing_never_shows_an_empty_screen() {
        let text = redrawn("one\ntwo\n", 3);
        assert_eq!(text, "\u{1b}[?2026h\u{1b}[3Fone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J\u{1b}[?2026l");
    }

    #[test]
    fn what_would_wrap_or_scroll_is_cut_off_and_marked() {
        let size = Size { columns: 5, rows: 3 };
        assert_eq!(size.clip("a\nabcdefg"), "a\nabcd…\n");
        assert_eq!(size.clip("a\nlost\nlost"), "a\n  … …\n");
        let wide = Size { columns: 80, rows: 4 };
        assert_eq!(wide.clip("a\nb\nc"), "a\nb\nc\n");
        assert_eq!(wide.clip("a\nb\nc\nd\ne"), "a\nb\n  … 3 more lines\n");
        assert_eq!(clipped("\u{1b}[1mabcdefg\u{1b}[0m", 5), "\u{1b}[1mabcd…\u{1b}[0m");
        assert_eq!(clipped("·····", 5), "·····");
        assert_eq!(clipped("······", 5), "····…");
        // A wide character takes two columns and is never split; a combining one takes none.
        assert_eq!(clipped("日本語", 5), "日本…");
        assert_eq!(clipped("日本語", 6), "日本語");
        assert_eq!(clipped("e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}e\u{301}");
    }
}
