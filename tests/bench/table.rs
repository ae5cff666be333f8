//! Medians, and the Markdown tables in which they are given.

/// The value in the middle; none of no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Says of a table's figures what they are.
pub(crate) fn medians(rounds: usize) -> String {
    match rounds {
        1 => "one round".to_owned(),
        _ => format!("medians of {rounds} rounds"),
    }
}

/// The median of what `figure` gives for each run, where every run has it.
pub(crate) fn median_of<T>(runs: &[T], figure: impl Fn(&T) -> Option<f64>) -> Option<f64> {
    median(runs.iter().map(figure).collect::<Option<Vec<_>>>()?)
}

/// The median over the rounds of one server's figure to another's. A ratio within a
/// round is of two runs that lie close together, so drift between rounds cancels out.
pub(crate) fn median_ratio<T>(
    runs: &[T],
    base: &[T],
    figure: impl Fn(&T) -> Option<f64>,
) -> Option<f64> {
    let ratios = runs.iter().zip(base).map(|(run, base)| {
        let ratio = figure(run)? / figure(base)?;
        ratio.is_finite().then_some(ratio)
    });
    median(ratios.collect::<Option<Vec<_>>>()?)
}

/// A number with `decimals` digits after the point, thousands apart; a dash for none.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if decimals > 0 {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// A figure with its unit, or a dash.
pub(crate) fn with_unit(value: Option<f64>, decimals: usize, unit: &str) -> String {
    match value {
        Some(_) => format!("{} {unit}", number(value, decimals)),
        None => number(None, 0),
    }
}

/// Columns are set to the right, but for those of words, which come first.
pub(crate) struct Table {
    word_columns: usize,
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: String, word_columns: usize, header: &[&str]) -> Self {
        let header = header.iter().map(|name| (*name).to_owned()).collect();
        Self {
            word_columns,
            title,
            rows: vec![header],
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) {
        self.rows.extend(rows);
    }

    /// A sentence to stand below the table.
    pub(crate) fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    pub(crate) fn print(&self) {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        println!("### {}\n", self.title);
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column < self.word_columns {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if index == 0 {
                let rules = widths.iter().enumerate().map(|(column, width)| {
                    let rule = "-".repeat(width + 1);
                    if column < self.word_columns {
                        format!("{rule}-")
                    } else {
                        format!("{rule}:")
                    }
                });
                println!("|{}|", rules.collect::<Vec<_>>().join("|"));
            }
        }
        println!();
        for note in &self.notes {
            println!("{note}\n");
        }
    }
}
