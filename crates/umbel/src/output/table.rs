//! Tables for people, at most 100 columns wide.

use super::line;
use super::text::one_line;
use crate::exit::Exit;

/// Columns of a terminal that every table fits into.
const WIDTH: usize = 100;
const GAP: usize = 2;

/// A column's title, and how it is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// Whether it may be cut, down to its title's width, when the table is too wide.
    flexible: bool,
}

impl Column {
    /// Text that is shown in full.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            flexible: false,
        }
    }

    /// Text that may be cut.
    pub(crate) const fn flexible(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            flexible: true,
        }
    }

    /// Numbers.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            flexible: false,
        }
    }
}

/// Rows under titles.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) const fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| one_line(&cell, 4 * WIDTH)));
    }

    /// Prints the rows under their titles, or says that there are none.
    pub(crate) fn print(&self, when_empty: &str) -> Result<(), Exit> {
        if self.rows.is_empty() {
            return line(when_empty);
        }
        for text in self.lines() {
            line(&text)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let titles = self.columns.map(|column| column.title.to_owned());
        std::iter::once(&titles)
            .chain(&self.rows)
            .map(|row| self.lay_out(row, &widths))
            .collect()
    }

    /// The widest flexible column gives way until the table fits.
    fn widths(&self) -> [usize; N] {
        let mut widths = self.columns.map(|column| column.title.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let room = WIDTH.saturating_sub(GAP * N.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let widest = widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(width, column)| column.flexible && **width > column.title.len())
                .max_by_key(|(width, _)| **width);
            let Some((width, _)) = widest else { break };
            *width -= 1;
        }
        widths
    }

    fn lay_out(&self, row: &[String; N], widths: &[usize; N]) -> String {
        let mut text = String::new();
        for ((cell, &width), column) in row.iter().zip(widths).zip(&self.columns) {
            if !text.is_empty() {
                text.push_str("  ");
            }
            let cell = one_line(cell, width);
            if column.right {
                text.push_str(&format!("{cell:>width$}"));
            } else {
                text.push_str(&format!("{cell:<width$}"));
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_their_kind() {
        let mut table = Table::new([Column::text("NAME"), Column::number("SLOTS")]);
        table.row(["a".to_owned(), "4".to_owned()]);
        table.row(["longer".to_owned(), "128".to_owned()]);
        assert_eq!(
            table.lines(),
            ["NAME    SLOTS", "a           4", "longer    128"]
        );
    }

    #[test]
    fn a_wide_table_cuts_only_what_may_be_cut() {
        let mut table = Table::new([Column::text("ID"), Column::flexible("NAME")]);
        let id = "0192abcd-ef01-7234-89ab-000102030405";
        table.row([id.to_owned(), "n".repeat(200)]);
        let lines = table.lines();
        assert!(
            lines.iter().all(|line| line.chars().count() <= WIDTH),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with(id) && lines[1].ends_with("n…"),
            "{lines:?}"
        );
    }
}
