//! `virtmark series info`

use std::path::Path;

use serde_json::{Value, json};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, Tone, format};
use virtmark_timeseries::{Range, Reader, SchemaInfo, SeriesEntry, StoreInfo, TierChoice};

use super::{labels, moment, moment_for_people};
use crate::output;

pub(super) fn run(store: &Path, json: bool) -> anyhow::Result<()> {
    let reader = Reader::open(store)?;
    let info = reader.info();
    let last_ns: Vec<Option<u64>> =
        reader.series().iter().map(|entry| last_ns(&reader, entry, &info)).collect::<anyhow::Result<_>>()?;
    if json {
        return output::json(&object(&reader, &info, &last_ns));
    }
    let style = output::stdout_style();
    let tables = [facts(&reader, &info), tiers(&info), series(&reader, &info, &last_ns)];
    let text = tables.map(|table| table.render(style)).join("\n");
    output::stdout(|output| output.write_all(text.as_bytes()))
}

/// Start of the last slot with samples, in the finest tier that has any.
fn last_ns(reader: &Reader, entry: &SeriesEntry, info: &StoreInfo) -> anyhow::Result<Option<u64>> {
    for tier in 0..info.schemas[entry.schema()].tiers.len() {
        let held = reader.summaries(entry, Range::All, TierChoice::Tier(tier))?;
        if let Some((time_ns, _)) = held.summaries.last() {
            return Ok(Some(*time_ns));
        }
    }
    Ok(None)
}

fn facts(reader: &Reader, info: &StoreInfo) -> Table {
    let time = |time_ns: Option<u64>| {
        time_ns.map_or_else(|| "none yet".into(), |ns| format!("{} UTC", moment_for_people(ns)))
    };
    let mut table = Table::new("");
    table.column("", Column::Name).column("", Column::Text);
    let mut row = |name: &str, value: String| {
        table.row(vec![name.into(), value.into()]);
    };
    row("store", reader.directory().display().to_string());
    let exactly = format::count(info.size_bytes as f64);
    row("size", format!("{} ({exactly} bytes), fixed", format::bytes(info.size_bytes as f64)));
    row("lanes", format!("{}, a recording thread each", info.lanes));
    row("oldest sample", time(info.oldest_ns));
    row("newest sample", time(info.newest_ns));
    row("rejected samples", rejected(info));
    table
}

fn rejected(info: &StoreInfo) -> String {
    let counts = &info.rejected;
    let kinds = [
        (counts.far_future, "from the far future"),
        (counts.foreign, "for another store"),
        (counts.late, "too late"),
        (counts.not_finite, "not a finite number"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", format::count(count as f64)))
        .collect();
    if kinds.is_empty() { "none".into() } else { kinds.join(", ") }
}

fn tiers(info: &StoreInfo) -> Table {
    let mut table = Table::new("Schemas and their tiers");
    table.column("schema", Column::Name).column("series", Column::Figure).column("tier", Column::Figure);
    table.column("step", Column::Figure).column("slots", Column::Figure).column("covers", Column::Figure);
    table.column("width", Column::Name).column("filled", Column::Figure);
    for schema in &info.schemas {
        for (at, tier) in schema.tiers.iter().enumerate() {
            let share = tier.filled_slots as f64 / tier.registered_slots as f64;
            let filled = if tier.registered_slots == 0 { "-".into() } else { format::percent(share) };
            let (name, series) = match at {
                0 => (schema.name.clone(), format!("{} of {}", schema.series, schema.max_series)),
                _ => Default::default(),
            };
            table.row(vec![
                Cell::from(name).tone(Tone::Strong),
                series.into(),
                at.to_string().into(),
                span(tier.tier.step_ns).into(),
                format::count(tier.tier.slots.into()).into(),
                span(tier.tier.span_ns()).into(),
                tier.tier.width.to_string().into(),
                filled.into(),
            ]);
        }
    }
    for schema in info.schemas.iter().filter(|schema| schema.matcher.to_string() != "{}") {
        table.note(format!("{} takes {}", schema.name, schema.matcher), Tone::Faint);
    }
    table
}

/// A length of time in the largest unit that divides it: `10 s`, `6 h`.
pub(super) fn span(ns: u64) -> String {
    let units = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "µs"),
    ];
    let fits = units.into_iter().find(|(size, _)| ns >= *size && ns.is_multiple_of(*size));
    let (size, unit) = fits.unwrap_or((1, "ns"));
    format!("{} {unit}", ns / size)
}

fn series(reader: &Reader, info: &StoreInfo, last_ns: &[Option<u64>]) -> Table {
    let mut table = Table::new("Series");
    table.column("series", Column::Name).column("kind", Column::Name);
    table.column("schema", Column::Name).column("last tick (UTC)", Column::Name);
    for (entry, last_ns) in reader.series().iter().zip(last_ns) {
        table.row(vec![
            short(&entry.key().to_string(), output::stdout_style()).into(),
            entry.kind().to_string().into(),
            info.schemas[entry.schema()].name.as_str().into(),
            last_ns.map_or_else(|| "-".into(), moment_for_people).into(),
        ]);
    }
    if reader.series().is_empty() {
        table.note("No series is registered yet.", Tone::Plain);
    }
    table
}

/// The text of a series, its end cut where the other columns would leave the screen.
fn short(text: &str, style: Style) -> String {
    let room = usize::from(style.width).saturating_sub(50).max(40);
    match text.char_indices().nth(room) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

fn object(reader: &Reader, info: &StoreInfo, last_ns: &[Option<u64>]) -> Value {
    let series: Vec<Value> = reader
        .series()
        .iter()
        .zip(last_ns)
        .map(|(entry, last_ns)| {
            json!({
                "series": entry.key().to_string(),
                "name": entry.key().name(),
                "labels": labels(entry),
                "kind": entry.kind().to_string(),
                "schema": info.schemas[entry.schema()].name,
                "last_tick_ns": last_ns,
                "last_tick": last_ns.map(moment),
            })
        })
        .collect();
    json!({
        "store": reader.directory(),
        "size_bytes": info.size_bytes,
        "lanes": info.lanes,
        "oldest_ns": info.oldest_ns,
        "oldest": info.oldest_ns.map(moment),
        "newest_ns": info.newest_ns,
        "newest": info.newest_ns.map(moment),
        "rejected": {
            "far_future": info.rejected.far_future,
            "foreign": info.rejected.foreign,
            "late": info.rejected.late,
            "not_finite": info.rejected.not_finite,
            "total": info.rejected.total(),
        },
        "schemas": info.schemas.iter().map(schema).collect::<Vec<_>>(),
        "series": series,
    })
}

fn schema(schema: &SchemaInfo) -> Value {
    let tiers: Vec<Value> = schema
        .tiers
        .iter()
        .enumerate()
        .map(|(at, tier)| {
            json!({
                "tier": at,
                "step_ns": tier.tier.step_ns,
                "slots": tier.tier.slots,
                "span_ns": tier.tier.span_ns(),
                "width": tier.tier.width.to_string(),
                "filled_slots": tier.filled_slots,
                "registered_slots": tier.registered_slots,
            })
        })
        .collect();
    json!({
        "name": schema.name,
        "matcher": schema.matcher.to_string(),
        "series": schema.series,
        "max_series": schema.max_series,
        "tiers": tiers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_divides_them() {
        let told = [10_000_000, 1_000_000_000, 90_000_000_000, 21_600_000_000_000, 604_800_000_000_000, 7, 0];
        assert_eq!(told.map(span), ["10 ms", "1 s", "90 s", "6 h", "7 d", "7 ns", "0 ns"]);
    }
}
