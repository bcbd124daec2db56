//! Tables as Markdown, aligned for a terminal too.

/// A table with its head; the first column is text, the others are numbers.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(ToString::to_string).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn print(&self, title: &str) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        println!("### {title}\n");
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<String> = cells
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("| {} |", line.join(" | "));
            if index == 0 {
                let rule = |(column, width): (usize, &usize)| match column {
                    0 => "-".repeat(*width),
                    _ => format!("{}:", "-".repeat(width - 1)),
                };
                let line: Vec<String> = widths.iter().enumerate().map(rule).collect();
                println!("| {} |", line.join(" | "));
            }
        }
        println!();
    }
}

/// A number with so many decimals, or a dash where there is none.
pub(crate) fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// The range of a number over rounds.
pub(crate) fn range_cell(range: Option<(f64, f64)>, decimals: usize) -> String {
    range.map_or_else(
        || "-".to_owned(),
        |(least, most)| format!("{least:.decimals$} to {most:.decimals$}"),
    )
}
