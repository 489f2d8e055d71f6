//! Tables and colors on a terminal.

use std::io::IsTerminal as _;

/// How a text is to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
}

/// Whether texts are colored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Colors {
    On,
    Off,
}

/// A text of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// Rows of the same columns, which are as wide as their longest text.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<Cell>>);

// === impl Colors ===

impl Colors {
    /// Colors for a terminal on stdout, unless `NO_COLOR` is set.
    pub(super) fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !is_refused {
            Self::On
        } else {
            Self::Off
        }
    }

    /// The text in the color of a tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Off, _) | (Self::On, Tone::Plain) => return text.to_owned(),
            (Self::On, Tone::Heading) => 1,
            (Self::On, Tone::Good) => 32,
            (Self::On, Tone::Warning) => 33,
            (Self::On, Tone::Bad) => 31,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

// === impl Cell ===

impl Cell {
    /// Takes a text that may come from elsewhere: it cannot move the cursor.
    pub(super) fn new(tone: Tone, text: &str) -> Self {
        let text = printable(text);
        Self { text, tone }
    }
}

/// Returns a text in one line that cannot change the terminal.
pub(super) fn printable(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    text.trim().to_owned()
}

// === impl Table ===

impl Table {
    /// A table without rows.
    pub(super) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| Cell::new(Tone::Heading, heading));
        Self(vec![headings.collect()])
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.0.push(row);
    }

    /// The lines of the table.
    pub(super) fn to_text(&self, colors: Colors) -> String {
        let width = |cell: &Cell| cell.text.chars().count();
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<_> = (0..columns)
            .map(|column| {
                self.0
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(width)
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let line = |row: &Vec<Cell>| {
            let cells = row.iter().zip(&widths).map(|(cell, widest)| {
                let padding = " ".repeat(widest.saturating_sub(width(cell)));
                colors.paint(cell.tone, &cell.text) + &padding
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_text_whatever_its_color() {
        let mut table = Table::new(&["A", "LONGER"]);
        table.push(vec![
            Cell::new(Tone::Good, "üü\u{1b}[31m"),
            Cell::new(Tone::Plain, "x\ny"),
        ]);
        assert_eq!(table.to_text(Colors::Off), "A        LONGER\nüü [31m  x y");
        let colored = table.to_text(Colors::On);
        assert_eq!(
            colored,
            "\u{1b}[1mA\u{1b}[0m        \u{1b}[1mLONGER\u{1b}[0m\n\u{1b}[32müü [31m\u{1b}[0m  x y"
        );
    }
}
