//! Medians, and the Markdown tables that show them.

/// A column's heading, and its cell for one contender's runs and those they are compared with.
pub(crate) type Column<R> = (&'static str, fn(&[R], &[R]) -> String);

/// The median of a figure, if every run has it.
pub(crate) fn median<R>(runs: &[R], figure: impl Fn(&R) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().map(figure).collect::<Option<_>>()?;
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The median of a figure, with its unit.
pub(crate) fn figure<R>(
    runs: &[R],
    figure: impl Fn(&R) -> Option<f64>,
    decimals: usize,
    unit: &str,
) -> String {
    with_unit(median(runs, figure), decimals, unit)
}

/// The median of a figure, and the least and the most that a run showed.
pub(crate) fn spread<R>(
    runs: &[R],
    figure: impl Fn(&R) -> Option<f64>,
    decimals: usize,
    unit: &str,
) -> String {
    let text = with_unit(median(runs, &figure), decimals, unit);
    let values: Option<Vec<f64>> = runs.iter().map(figure).collect();
    let values = values.filter(|values| values.len() > 1);
    let least = values.iter().flatten().copied().reduce(f64::min);
    let most = values.iter().flatten().copied().reduce(f64::max);
    match least {
        None => text,
        _ => format!(
            "{text} ({}–{})",
            number(least, decimals),
            number(most, decimals)
        ),
    }
}

/// The ratio of a figure to the same figure of `base` in the same round. The two runs of a
/// round lie close together, so that drift between rounds cancels out.
pub(crate) fn ratio<R>(runs: &[R], base: &[R], figure: impl Fn(&R) -> Option<f64>) -> String {
    let rounds: Vec<_> = runs.iter().zip(base).collect();
    let ratio = |(run, base): &(&R, &R)| {
        let ratio = figure(run)? / figure(base)?;
        ratio.is_finite().then_some(ratio)
    };
    spread(&rounds, ratio, 2, "")
}

/// A number with its unit, or a dash.
pub(crate) fn with_unit(value: Option<f64>, decimals: usize, unit: &str) -> String {
    let text = number(value, decimals);
    match value {
        Some(_) if !unit.is_empty() => format!("{text} {unit}"),
        _ => text,
    }
}

/// A number with so many decimals and thousands separated by commas, or a dash.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let plain = format!("{value:.decimals$}");
    let digits = plain.trim_start_matches('-');
    let whole = digits.split('.').next().unwrap_or(digits).len();
    let mut text = plain[..plain.len() - digits.len()].to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first two columns name the load and the server, and are aligned left; the others hold
/// figures, and are aligned right.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new<R>(name: &str, rounds: usize, columns: &[Column<R>]) -> Table {
        let headings = columns.iter().map(|(heading, _)| *heading);
        let headings = ["load", "server"].into_iter().chain(headings);
        let title = match rounds {
            1 => format!("{name}, one round"),
            _ => format!("{name}, medians of {rounds} rounds"),
        };
        Table {
            title,
            rows: vec![headings.map(str::to_owned).collect()],
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, load: &str, server: &str, cells: impl Iterator<Item = String>) {
        let words = [load.to_owned(), server.to_owned()];
        self.rows.push(words.into_iter().chain(cells).collect());
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    pub(crate) fn print(mut self) {
        const LEFT: usize = 2;
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).filter_map(width).collect();
        let rule = |(column, width): (usize, &usize)| match column < LEFT {
            true => "-".repeat(*width),
            false => format!("{}:", "-".repeat(width.saturating_sub(1))),
        };
        let rules = widths.iter().enumerate().map(rule).collect();
        self.rows.insert(1, rules);
        println!("### {}\n", self.title);
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column < LEFT {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        println!();
        for note in &self.notes {
            println!("{note}\n");
        }
    }
}
