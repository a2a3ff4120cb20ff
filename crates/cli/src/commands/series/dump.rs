//! `virtmark series dump`

use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};
use virtmark_timeseries::{Range, Reader, SeriesEntry, Summaries, Summary, TierChoice};

use super::{csv_field, labels, moment, number};
use crate::args::{DumpArguments, DumpFormat};
use crate::output;

pub(super) fn run(options: &DumpArguments) -> anyhow::Result<()> {
    let reader = Reader::open(&options.store)?;
    match &options.output {
        Some(path) => {
            let mut file = BufWriter::new(output::create(path)?);
            let written = write(&mut file, &reader, options.format).and_then(|()| file.flush());
            written.map_err(|error| output::on(error, path))
        }
        None => output::stdout(|output| write(output, &reader, options.format)),
    }
}

fn write(output: &mut dyn Write, reader: &Reader, format: DumpFormat) -> io::Result<()> {
    if format == DumpFormat::Csv {
        writeln!(output, "series,kind,tier,step_ns,time_ns,time,count,sum,min,max,first,last")?;
    }
    for entry in reader.series() {
        if format == DumpFormat::Jsonl {
            write_line(output, &series(reader, entry))?;
        }
        let tiers = reader.options().schemas()[entry.schema()].tiers.len();
        for tier in 0..tiers {
            let held =
                reader.summaries(entry, Range::All, TierChoice::Tier(tier)).map_err(io::Error::other)?;
            match format {
                DumpFormat::Csv => write_rows(output, entry, &held)?,
                DumpFormat::Jsonl => write_points(output, entry, &held)?,
            }
        }
    }
    Ok(())
}

fn series(reader: &Reader, entry: &SeriesEntry) -> Value {
    json!({
        "type": "series",
        "series": entry.key().to_string(),
        "name": entry.key().name(),
        "labels": labels(entry),
        "kind": entry.kind().to_string(),
        "schema": reader.options().schemas()[entry.schema()].name,
    })
}

fn write_points(output: &mut dyn Write, entry: &SeriesEntry, held: &Summaries) -> io::Result<()> {
    let name = entry.key().to_string();
    for (time_ns, summary) in &held.summaries {
        let Summary { count, sum, min, max, first, last } = summary;
        let point = json!({
            "type": "point",
            "series": name,
            "tier": held.tier,
            "step_ns": held.step_ns,
            "time_ns": time_ns,
            "time": moment(*time_ns),
            "count": count,
            "sum": sum,
            "min": min,
            "max": max,
            "first": first,
            "last": last,
        });
        write_line(output, &point)?;
    }
    Ok(())
}

fn write_line(output: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *output, value)?;
    writeln!(output)
}

fn write_rows(output: &mut dyn Write, entry: &SeriesEntry, held: &Summaries) -> io::Result<()> {
    let (name, kind) = (csv_field(&entry.key().to_string()), entry.kind());
    for (time_ns, summary) in &held.summaries {
        let Summary { count, sum, min, max, first, last } = summary;
        write!(output, "{name},{kind},{},{},{time_ns},{}", held.tier, held.step_ns, moment(*time_ns))?;
        write!(output, ",{}", count.map_or_else(String::new, |count| count.to_string()))?;
        for value in [sum, min, max, first, last] {
            write!(output, ",{}", value.map_or_else(String::new, number))?;
        }
        writeln!(output)?;
    }
    Ok(())
}
