//! The text of an exposition.

use std::collections::BTreeMap;
use std::fmt::Write;

use virtmark_timeseries::{Kind, Range, Reader, SeriesEntry, TierChoice};

use crate::export::metrics::metric;

/// The media type of an [`exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The latest sample of every series, as OpenMetrics text.
///
/// A series is exposed while its finest tier holds a sample, with the start of its slot as the time: so a machine that
/// is gone does not look alive, and who scrapes twice in one slot has one sample. The value is the one that
/// [`remote_write`](crate::export::remote_write) pushes, under the same name. Counters named `…_total` are of type
/// `counter`, gauges of type `gauge`; a name that would break the rules as either (a counter without `_total`, a name
/// of both kinds) is of type `unknown`, since renaming would tear it from what is pushed.
#[must_use]
pub fn exposition(reader: &Reader) -> String {
    let mut families: BTreeMap<&str, Vec<&SeriesEntry>> = BTreeMap::new();
    for entry in reader.series() {
        families.entry(entry.key().name()).or_default().push(entry);
    }
    let mut text = String::new();
    for (name, entries) in &families {
        let samples: Vec<_> =
            entries.iter().filter_map(|entry| Some((entry, latest(reader, entry)?))).collect();
        if samples.is_empty() {
            continue;
        }
        let (family, kind) = family(name, entries, |name| families.contains_key(name));
        line(&mut text, format_args!("# TYPE {family} {kind}"));
        if let Some(metric) = metric(name) {
            line(&mut text, format_args!("# HELP {family} {}", metric.help));
        }
        for (entry, (time_ns, value)) in samples {
            let value = Number(value);
            line(&mut text, format_args!("{name}{} {value} {}", Labels(entry), Seconds(time_ns)));
        }
    }
    text.push_str("# EOF\n");
    text
}

/// The newest slot of the finest tier that holds samples.
fn latest(reader: &Reader, entry: &SeriesEntry) -> Option<(u64, f64)> {
    // A series has a finest tier, so there is no error.
    let held = reader.summaries(entry, Range::All, TierChoice::Tier(0)).ok()?;
    let (time_ns, summary) = held.summaries.last()?;
    Some((*time_ns, summary.last.or_else(|| summary.average())?))
}

/// Name and type of the family that samples of this name are in.
fn family<'a>(
    name: &'a str,
    entries: &[&SeriesEntry],
    is_taken: impl Fn(&str) -> bool,
) -> (&'a str, &'static str) {
    let all_are = |kind| entries.iter().all(|entry| entry.kind() == kind);
    if all_are(Kind::Gauge) {
        return (name, "gauge");
    }
    let stripped = name.strip_suffix("_total").filter(|stripped| {
        !stripped.is_empty() && !is_taken(stripped) && !is_taken(&format!("{stripped}_created"))
    });
    match stripped {
        Some(stripped) if all_are(Kind::Counter) => (stripped, "counter"),
        _ => (name, "unknown"),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// `{key="value",…}` with backslashes, quotes and newlines escaped; nothing for no labels.
struct Labels<'a>(&'a SeriesEntry);

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut before = '{';
        for (key, value) in self.0.key().labels() {
            write!(f, "{before}{key}=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => f.write_char(c)?,
                }
            }
            f.write_char('"')?;
            before = ',';
        }
        if before == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// The shortest decimal that reads back as the same number.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number:?}"),
        }
    }
}

/// Seconds since 1970, with milliseconds where there are some.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, ms) = (self.0 / 1_000_000_000, self.0 / 1_000_000 % 1000);
        if ms == 0 { write!(f, "{seconds}") } else { write!(f, "{seconds}.{ms:03}") }
    }
}
