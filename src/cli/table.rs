//! Tables and colors on a terminal.

/// How a text is to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
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

// === impl Tone ===

impl Tone {
    /// The text in the color of the tone, which `anstream` removes where it is not for a terminal, or `NO_COLOR` is set.
    pub(super) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => 1,
            Self::Good => 32,
            Self::Warning => 33,
            Self::Bad => 31,
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
    let text = text.replace(char::is_control, " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
    pub(super) fn to_text(&self) -> String {
        let width = |cell: &Cell| cell.text.chars().count();
        let mut widths = vec![0; self.0.iter().map(Vec::len).max().unwrap_or_default()];
        for row in &self.0 {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let line = |row: &Vec<Cell>| {
            let cells = row.iter().zip(&widths).map(|(cell, widest)| {
                let padding = " ".repeat(widest.saturating_sub(width(cell)));
                cell.tone.paint(&cell.text) + &padding
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
        let colored = table.to_text();
        let plain = anstream::adapter::strip_str(&colored).to_string();
        assert_eq!(plain, "A        LONGER\nüü [31m  x y");
        assert_eq!(
            colored,
            "\u{1b}[1mA\u{1b}[0m        \u{1b}[1mLONGER\u{1b}[0m\n\u{1b}[32müü [31m\u{1b}[0m  x y"
        );
    }
}
