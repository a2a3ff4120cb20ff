//! `virtmark series query`

use std::io::{self, Write};

use serde_json::{Value, json};
use virtmark_report::Tone;
use virtmark_report::format;
use virtmark_report::table::{Column, Table};
use virtmark_timeseries::{Function, Kind, Points, Query, Range, Reader, SeriesEntry};

use super::info::span;
use super::{csv_field, labels, moment, moment_for_people, number, plot};
use crate::args::{QueryArguments, QueryFormat, RangeChoice};
use crate::output;

/// What was asked of one series, and the answer.
pub(super) struct Answer<'a> {
    pub(super) entry: &'a SeriesEntry,
    pub(super) function: Function,
    pub(super) points: Points,
}

pub(super) fn run(options: &QueryArguments, quiet: bool) -> anyhow::Result<()> {
    let reader = Reader::open(&options.store)?;
    let range = range(options.range, options.until);
    let mut answers = Vec::new();
    for entry in reader.select(&options.selector)? {
        let function = function(options, entry.kind());
        let points = reader.query(entry, &Query { range, tier: options.tier, function })?;
        answers.push(Answer { entry, function, points });
    }
    if let Some(path) = &options.plot {
        plot::write(&reader, range, &options.selector, &answers, path)?;
        if !quiet {
            output::people(&format!("virtmark: wrote {}\n", path.display()));
        }
    }
    match options.format {
        QueryFormat::Csv => output::stdout(|output| write_csv(output, &answers)),
        QueryFormat::Json => output::json(&object(options, &answers)),
        QueryFormat::Table => {
            let style = output::stdout_style();
            let tables: Vec<String> = answers.iter().map(|answer| table(answer).render(style)).collect();
            output::stdout(|output| output.write_all(tables.join("\n").as_bytes()))
        }
    }
}

/// A range that ends at a time has the slot of that time in it, as the one up to the newest sample has.
fn range(choice: RangeChoice, until: Option<u64>) -> Range {
    match (choice, until.map(|until| until + 1)) {
        (RangeChoice::All, None) => Range::All,
        (RangeChoice::All, Some(until_ns)) => Range::Between { from_ns: 0, until_ns },
        (RangeChoice::Last(span), None) => Range::Last(span),
        (RangeChoice::Last(span), Some(until_ns)) => {
            let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            Range::Between { from_ns: until_ns.saturating_sub(span_ns), until_ns }
        }
    }
}

fn function(options: &QueryArguments, kind: Kind) -> Function {
    match (options.rate, options.function, kind) {
        (true, _, _) => Function::Rate,
        (false, Some(function), _) => function,
        (false, None, Kind::Counter) => Function::Last,
        (false, None, Kind::Gauge) => Function::Average,
    }
}

fn table(answer: &Answer<'_>) -> Table {
    let Answer { entry, function, points: Points { tier, step_ns, points } } = answer;
    let mut table = Table::new(entry.key().to_string());
    table.column("time (UTC)", Column::Name).column(function.to_string(), Column::Figure);
    for point in points {
        table.row(vec![moment_for_people(point.time_ns).into(), number(point.value).into()]);
    }
    let step = span(*step_ns);
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => {
            let slots = (last.time_ns - first.time_ns) / step_ns + 1;
            let without = slots - points.len() as u64;
            let gaps = if without == 0 {
                String::new()
            } else {
                format!(", {} without", format::count(without as f64))
            };
            let count = format::count(points.len() as f64);
            table.note(
                format!(
                    "{count} slot{} with a point{gaps}; tier {tier}, {step} a slot",
                    plural(points.len())
                ),
                Tone::Plain,
            );
        }
        _ => {
            table
                .note(format!("There are no points in this range; tier {tier}, {step} a slot."), Tone::Plain);
        }
    }
    table
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn write_csv(output: &mut dyn Write, answers: &[Answer<'_>]) -> io::Result<()> {
    writeln!(output, "series,function,tier,step_ns,time_ns,time,value")?;
    for Answer { entry, function, points: Points { tier, step_ns, points } } in answers {
        let series = csv_field(&entry.key().to_string());
        for point in points {
            let (time_ns, time, value) = (point.time_ns, moment(point.time_ns), number(point.value));
            writeln!(output, "{series},{function},{tier},{step_ns},{time_ns},{time},{value}")?;
        }
    }
    Ok(())
}

fn object(options: &QueryArguments, answers: &[Answer<'_>]) -> Value {
    let series: Vec<Value> = answers
        .iter()
        .map(|Answer { entry, function, points: Points { tier, step_ns, points } }| {
            let points: Vec<Value> = points
                .iter()
                .map(|point| json!({ "time_ns": point.time_ns, "time": moment(point.time_ns), "value": point.value }))
                .collect();
            json!({
                "series": entry.key().to_string(),
                "name": entry.key().name(),
                "labels": labels(entry),
                "kind": entry.kind().to_string(),
                "function": function.to_string(),
                "tier": tier,
                "step_ns": step_ns,
                "points": points,
            })
        })
        .collect();
    json!({ "store": options.store, "selector": options.selector.to_string(), "series": series })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_range_that_ends_somewhere_has_its_last_slot_in_it() {
        let last = RangeChoice::Last(Duration::from_nanos(10));
        assert_eq!(range(last, Some(99)), Range::Between { from_ns: 90, until_ns: 100 });
        assert_eq!(range(last, Some(3)), Range::Between { from_ns: 0, until_ns: 4 });
        assert_eq!(range(RangeChoice::All, Some(99)), Range::Between { from_ns: 0, until_ns: 100 });
        assert_eq!(range(RangeChoice::All, None), Range::All);
    }
}
