//! The points of a query as a picture.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use virtmark_model::Unit;
use virtmark_report::figure::{Figure, Line, LinePoint, Lines, Plot, Times};
use virtmark_timeseries::{Function, Range, Reader, Selector, TierChoice};

use super::info::span;
use super::query::Answer;
use crate::failure::Failure;
use crate::output;

/// Pixels across: the drawing's natural size.
const WIDTH: u32 = 800;

/// Draws the answers, as PNG or SVG by the name of the file.
pub(super) fn write(
    reader: &Reader,
    range: Range,
    selector: &Selector,
    answers: &[Answer<'_>],
    path: &Path,
) -> anyhow::Result<()> {
    let (most, found) = (Figure::MOST_CURVES, answers.len());
    if found > most {
        return Err(Failure::usage(format!(
            "cannot plot {found} series: at most {most} can be told apart in one picture; ask for fewer with labels"
        ))
        .into());
    }
    let figure = figure(reader, range, selector, answers)?;
    let bytes = match path.extension() {
        Some(extension) if extension == "svg" => figure.to_svg().into_bytes(),
        _ => figure.to_png(WIDTH)?,
    };
    let mut file = output::create_as(path, "--plot")?;
    file.write_all(&bytes).map_err(|error| output::on(error, path))
}

fn figure(
    reader: &Reader,
    range: Range,
    selector: &Selector,
    answers: &[Answer<'_>],
) -> anyhow::Result<Figure> {
    let quantities = || answers.iter().map(|answer| Quantity::of(answer.entry.key().name(), answer.function));
    let first = quantities().next();
    // Values of several units share an axis without one.
    let one = first.clone().filter(|first| quantities().all(|other| other == *first));
    let quantity = one.unwrap_or(Quantity { what: "value".into(), unit: Unit::Count, factor: 1.0 });
    let mut functions: Vec<String> = answers.iter().map(|answer| answer.function.to_string()).collect();
    functions.sort();
    functions.dedup();
    let mut lines = Vec::new();
    for answer in answers {
        lines.push(line(reader, range, answer, quantity.factor)?);
    }
    let plot = Lines { axis: quantity.what, unit: quantity.unit, times: Times::Utc, lines };
    Ok(Figure {
        title: format!("{selector}: {}", functions.join(" and ")),
        notes: notes(answers),
        plot: Plot::Lines(plot),
    })
}

/// What an axis shows.
#[derive(Clone, Debug, PartialEq)]
struct Quantity {
    what: String,
    unit: Unit,
    /// From the series' unit to `unit`.
    factor: f64,
}

impl Quantity {
    /// The unit that the name of a metric ends with, as Prometheus names them.
    fn of(name: &str, function: Function) -> Self {
        let plain = name.strip_suffix("_total").unwrap_or(name);
        let is = |ending: &str| plain == ending || plain.ends_with(&format!("_{ending}"));
        let (what, unit, factor) = match function {
            Function::Count => ("samples", Unit::Count, 1.0),
            Function::Rate if is("seconds") => ("seconds per second", Unit::Ratio, 1.0),
            Function::Rate if is("bytes") => ("bytes", Unit::BytesPerSecond, 1.0),
            Function::Rate => (plain, Unit::PerSecond, 1.0),
            _ if is("seconds") => (plain, Unit::Ns, 1e9),
            _ if is("bytes") => (plain, Unit::Bytes, 1.0),
            _ => (plain, Unit::Count, 1.0),
        };
        Self { what: what.into(), unit, factor }
    }
}

fn line(reader: &Reader, range: Range, answer: &Answer<'_>, factor: f64) -> anyhow::Result<Line> {
    let mut bands: HashMap<u64, (f64, f64)> = HashMap::new();
    if answer.function == Function::Average {
        let held = reader.summaries(answer.entry, range, TierChoice::Tier(answer.points.tier))?;
        let band = |(time_ns, summary): &(u64, virtmark_timeseries::Summary)| {
            Some((*time_ns, (summary.min?, summary.max?)))
        };
        // Slots of one sample each have no band.
        let all: HashMap<_, _> = held.summaries.iter().filter_map(band).collect();
        if all.values().any(|(low, high)| low < high) {
            bands = all;
        }
    }
    let points = answer.points.points.iter().filter(|point| (point.value * factor).is_finite());
    let points = points
        .map(|point| LinePoint {
            time_ns: point.time_ns,
            value: point.value * factor,
            band: bands.get(&point.time_ns).map(|(low, high)| (low * factor, high * factor)),
        })
        .collect();
    Ok(Line { name: answer.entry.key().to_string(), step_ns: answer.points.step_ns, points })
}

fn notes(answers: &[Answer<'_>]) -> Vec<String> {
    let mut steps: Vec<u64> = answers.iter().map(|answer| answer.points.step_ns).collect();
    steps.sort_unstable();
    steps.dedup();
    let steps: Vec<String> = steps.into_iter().map(span).collect();
    let mut note =
        format!("A point for each slot of {} that has samples; the rest are gaps.", steps.join(" or "));
    if answers.iter().any(|answer| answer.function == Function::Average) {
        note.push_str(" Where a slot has several samples, a band reaches from the smallest to the largest.");
    }
    vec![note]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_metric_says_its_unit() {
        let of = |name: &str, function| {
            let Quantity { what, unit, factor } = Quantity::of(name, function);
            (what, unit, factor)
        };
        assert_eq!(
            of("guest_memory_bytes", Function::Average),
            ("guest_memory_bytes".into(), Unit::Bytes, 1.0)
        );
        assert_eq!(
            of("vcpu_time_seconds_total", Function::Last),
            ("vcpu_time_seconds".into(), Unit::Ns, 1e9)
        );
        assert_eq!(
            of("vcpu_time_seconds_total", Function::Rate),
            ("seconds per second".into(), Unit::Ratio, 1.0)
        );
        assert_eq!(of("net_bytes_total", Function::Rate), ("bytes".into(), Unit::BytesPerSecond, 1.0));
        assert_eq!(of("vcpu_exits_total", Function::Rate), ("vcpu_exits".into(), Unit::PerSecond, 1.0));
        assert_eq!(of("kilobytes", Function::Last), ("kilobytes".into(), Unit::Count, 1.0));
        assert_eq!(of("net_bytes_total", Function::Count), ("samples".into(), Unit::Count, 1.0));
    }
}
