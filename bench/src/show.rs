//! The tables, and the one line of JSON after them, on standard output.

use std::io::Write;

use serde::Serialize;

/// A line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    what: &'static str,
    floor: Option<f64>,
    product: f64,
    /// The median of the ratios of each run, not the ratio of the medians.
    ratio: Option<f64>,
}

impl Row {
    /// Of floor and product, run by run.
    pub(crate) fn compared(what: &'static str, pairs: &[(f64, f64)]) -> Self {
        let ratios: Vec<_> = pairs.iter().filter(|(floor, _)| *floor > 0.0).map(|(floor, own)| own / floor).collect();
        Self {
            what,
            floor: Some(median(pairs.iter().map(|(floor, _)| *floor).collect())),
            product: median(pairs.iter().map(|(_, product)| *product).collect()),
            ratio: (!ratios.is_empty()).then(|| median(ratios)),
        }
    }

    /// Of the product, which alone has it.
    pub(crate) fn alone(what: &'static str, values: &[f64]) -> Self {
        Self { what, floor: None, product: median(values.to_vec()), ratio: None }
    }
}

pub(crate) fn table(title: &str, rows: &[Row]) -> anyhow::Result<()> {
    line(&format!("\n{title}\n{:<30}{:>12}{:>12}{:>9}", "", "floor", "product", "ratio"))?;
    for Row { what, floor, product, ratio } in rows {
        let or_none = |value: &Option<f64>| value.map_or("–".to_owned(), figure);
        line(&format!("{what:<30}{:>12}{:>12}{:>9}", or_none(floor), figure(*product), or_none(ratio)))?;
    }
    Ok(())
}

pub(crate) fn json(measurement: &str, report: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::json!({ measurement: report }).to_string())
}

pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Whole from 100 on, else with as many digits as say something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        small if small < 1.0 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle value, or the mean of the two in the middle; 0 without values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_each_run() {
        let row = Row::compared("", &[(1.0, 2.0), (10.0, 30.0), (4.0, 4.0)]);
        assert_eq!((row.floor, row.product, row.ratio), (Some(4.0), 4.0, Some(2.0)));
        assert_eq!(Row::compared("", &[(0.0, 5.0)]).ratio, None, "nothing is no multiple of nothing");
    }
}
