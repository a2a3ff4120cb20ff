//! `virtmark series`

mod bench;
mod dump;
mod info;
mod plot;
mod push;
mod query;
mod serve;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use virtmark_timeseries::SeriesEntry;

use crate::args::{SeriesArguments, SeriesCommand};
use crate::exit::Exit;

pub(crate) fn run(options: &SeriesArguments, quiet: bool) -> anyhow::Result<Exit> {
    match &options.command {
        SeriesCommand::Bench(options) => bench::run(options)?,
        SeriesCommand::Dump(options) => dump::run(options)?,
        SeriesCommand::Info { store, json } => info::run(store, *json)?,
        SeriesCommand::Push(options) => return push::run(options, quiet),
        SeriesCommand::Query(options) => query::run(options, quiet)?,
        SeriesCommand::Serve(options) => return serve::run(options, quiet),
    }
    Ok(Exit::Ok)
}

/// A time of a store, for machines: `2026-01-02T03:04:05Z`.
fn moment(time_ns: u64) -> String {
    timestamp(time_ns).to_string()
}

/// A time of a store, for people, in universal time: `2026-01-02 03:04:05`.
fn moment_for_people(time_ns: u64) -> String {
    timestamp(time_ns).to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.f").to_string()
}

fn timestamp(time_ns: u64) -> Timestamp {
    // The calendar goes on to the year 9999, and nanoseconds in 64 bits end before 2555.
    Timestamp::from_nanosecond(time_ns.into()).unwrap_or(Timestamp::MAX)
}

/// All digits of a number, with an exponent where zeros alone would fill a line.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-5..1e16).contains(&value.abs()) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// A field of CSV, quoted where it must be.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// Labels as an object.
fn labels(entry: &SeriesEntry) -> Value {
    let labels = entry.key().labels().map(|(label, value)| (label.to_owned(), value.into()));
    Value::Object(Map::from_iter(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_keep_all_their_digits() {
        assert_eq!(moment(1_767_323_045_000_000_000), "2026-01-02T03:04:05Z");
        assert_eq!(moment_for_people(1_767_323_045_250_000_000), "2026-01-02 03:04:05.25");
        assert_eq!(moment_for_people(0), "1970-01-01 00:00:00");
        assert_eq!(moment(u64::MAX).get(..4), Some("2554"));
        assert_eq!(number(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(number(-1e300), "-1e300");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn fields_with_quotes_and_commas_are_quoted() {
        assert_eq!(csv_field("a{b=\"c\",d=\"e\"}"), "\"a{b=\"\"c\"\",d=\"\"e\"\"}\"");
        assert_eq!(csv_field("plain"), "plain");
    }
}
