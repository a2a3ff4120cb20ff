//! Options of the commands about time-series stores.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use virtmark_timeseries::{Function, Selector, TierChoice};

/// Functions by name, as `virtmark_timeseries` reads them; rates have an option of their own.
const FUNCTIONS: [&str; 8] = ["avg", "min", "max", "first", "last", "sum", "count", "increase"];

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark series info machine.store
  virtmark series query machine.store guest_memory_bytes --range 90s
  virtmark series query machine.store 'vcpu_exits_total{reason=io}' --rate --plot exits.png
  virtmark series dump machine.store --format csv > points.csv
  virtmark series bench

A store is a directory of fixed size in which a running machine is recorded. It can be read while it is written.")]
pub(crate) struct SeriesArguments {
    #[command(subcommand)]
    pub(crate) command: SeriesCommand,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum SeriesCommand {
    /// Show schemas, tiers and series, how full they are, and what was rejected
    Info {
        /// The store's directory
        #[arg(value_name = "STORE")]
        store: PathBuf,

        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the points of some series over a range
    Query(QueryArguments),
    /// Write out all series with every slot of every tier
    Dump(DumpArguments),
    /// Push a store to a Prometheus by remote-write, each point once
    Push(PushArguments),
    /// Serve the newest points as OpenMetrics, for who scrapes
    Serve(ServeArguments),
    /// Measure what recording a sample costs here
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark series push machine.store --url http://127.0.0.1:9090/api/v1/write
  virtmark series push machine.store --url http://127.0.0.1:9090/api/v1/write --follow 10s

Prometheus takes it with --web.enable-remote-write-receiver. How far the push has come is kept in a file beside the \
store, and saved after every request that was taken: a push that is repeated, or was killed, loses and doubles nothing. The newest point may be sent twice, and is taken once.")]
pub(crate) struct PushArguments {
    /// The store's directory
    #[arg(value_name = "STORE")]
    pub(crate) store: PathBuf,

    /// The receiver, such as http://127.0.0.1:9090/api/v1/write
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,

    /// Where it is kept how far the push has come [default: STORE.cursor]
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor: Option<PathBuf>,

    /// Push again and again, this often, until Ctrl-C; for a store that is being recorded into
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_positive)]
    pub(crate) follow: Option<Duration>,

    /// How long to go on trying when the receiver does not answer, or answers 429 or 5xx
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::duration::parse_positive)]
    pub(crate) give_up_after: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  virtmark series serve machine.store --listen 127.0.0.1:9101
  curl -s http://127.0.0.1:9101/metrics

The store may be recorded into meanwhile, and made anew. Ctrl-C ends it.")]
pub(crate) struct ServeArguments {
    /// The store's directory
    #[arg(value_name = "STORE")]
    pub(crate) store: PathBuf,

    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark series query machine.store guest_memory_bytes
  virtmark series query machine.store 'net_bytes_total{direction=received}' --rate --range 15m --format csv
  virtmark series query machine.store load1 --range 1h --until 2026-01-02T03:04:05Z --function max
  virtmark series query machine.store '{vm=a}' --format json | jq '.series[].points[-1]'

Ranges end at the newest sample of the store, whatever the clock of this host says, unless --until says otherwise. \
A slot without samples has no point. Points stand at the start of their slot.")]
pub(crate) struct QueryArguments {
    /// The store's directory
    #[arg(value_name = "STORE")]
    pub(crate) store: PathBuf,

    /// The series: NAME, NAME{LABEL=VALUE,…}, {LABEL=VALUE} or {} for all
    #[arg(value_name = "SELECTOR", value_parser = Selector::from_str)]
    pub(crate) selector: Selector,

    /// How far back: all, or a time such as 90s, 15m, 1h or 7d
    #[arg(long, value_name = "all|TIME", default_value = "all", value_parser = parse_range)]
    pub(crate) range: RangeChoice,

    /// Up to this time, its slot included: 2026-01-02T03:04:05Z, or seconds since 1970 [default: the newest sample]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    pub(crate) until: Option<u64>,

    /// The resolution: auto (the finest that covers the range), or a tier's number, 0 being the finest
    #[arg(long, value_name = "auto|N", default_value = "auto", value_parser = parse_tier)]
    pub(crate) tier: TierChoice,

    /// What is shown of each slot [default: avg of gauges, last of counters]
    #[arg(long, value_name = "FUNCTION", value_parser = function_parser(), conflicts_with = "rate")]
    pub(crate) function: Option<Function>,

    /// How much a counter grew per second, resets taken into account
    #[arg(long)]
    pub(crate) rate: bool,

    /// What to print
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub(crate) format: QueryFormat,

    /// Draw the points into this file as well, .png or .svg
    #[arg(long, value_name = "FILE", value_parser = parse_plot)]
    pub(crate) plot: Option<PathBuf>,
}

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeChoice {
    All,
    Last(Duration),
}

/// What a query prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// To read
    Table,
    /// One row for each point
    Csv,
    /// One object
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark series dump machine.store > points.jsonl
  virtmark series dump machine.store --format csv -o points.csv

Everything that each slot keeps is written: count, sum, min, max, first and last. What a narrow slot does not keep \
is null, in CSV empty.")]
pub(crate) struct DumpArguments {
    /// The store's directory
    #[arg(value_name = "STORE")]
    pub(crate) store: PathBuf,

    /// What to write
    #[arg(long, value_enum, default_value_t = DumpFormat::Jsonl)]
    pub(crate) format: DumpFormat,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What a dump writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DumpFormat {
    /// One object a line: each series, then its points
    Jsonl,
    /// One row for each point
    Csv,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark series bench
  virtmark series bench --rounds 2000 --json | jq .record.median_ns

One thread records 30 series into a store that is made for this and removed. Each round times the same number of \
records and of atomic additions, in turns which come first; every round is a sample.")]
pub(crate) struct BenchArguments {
    /// How often each is timed
    #[arg(long, value_name = "N", default_value = "500", value_parser = parse_rounds)]
    pub(crate) rounds: NonZeroU32,

    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_range(text: &str) -> Result<RangeChoice, String> {
    if text == "all" {
        return Ok(RangeChoice::All);
    }
    match crate::duration::parse_any(text) {
        Ok(Duration::ZERO) => Err(format!("{text:?} is no time at all: give more than zero, or all")),
        Ok(span) => Ok(RangeChoice::Last(span)),
        Err(message) => Err(format!("{message}, or all")),
    }
}

fn parse_tier(text: &str) -> Result<TierChoice, String> {
    if text == "auto" {
        return Ok(TierChoice::Auto);
    }
    text.parse().map(TierChoice::Tier).map_err(|_| format!("{text:?} is no tier: expected auto, 0, 1, 2, …"))
}

/// Nanoseconds since 1970 of a time in seconds since then, or of one with date and zone.
fn parse_time_ns(text: &str) -> Result<u64, String> {
    let expected = "expected a time such as 2026-01-02T03:04:05Z or seconds since 1970 such as 1767323045";
    let ns = if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(['-', 'T', ':']) {
        seconds_ns(text)
    } else {
        let at: Option<Timestamp> = text.parse().ok();
        at.and_then(|at| u64::try_from(at.as_nanosecond()).ok())
    };
    ns.filter(|ns| *ns < virtmark_timeseries::TIME_LIMIT_NS)
        .ok_or_else(|| format!("{text:?} is no time from 1970 to 2262: {expected}"))
}

/// Seconds with up to nine decimals, exactly.
fn seconds_ns(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.len() > 9 || !digits(seconds) || !digits(decimals) {
        return None;
    }
    let below: u64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(below)
}

fn function_parser() -> impl clap::builder::TypedValueParser<Value = Function> {
    use clap::builder::TypedValueParser;
    PossibleValuesParser::new(FUNCTIONS).try_map(|name| Function::from_str(&name))
}

fn parse_plot(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("png" | "svg") => Ok(path),
        _ => Err("the name of the file decides what it gets: end it with .png or .svg".into()),
    }
}

fn parse_rounds(text: &str) -> Result<NonZeroU32, String> {
    let rounds = text.parse().ok().filter(|rounds: &NonZeroU32| rounds.get() <= 100_000);
    rounds.ok_or_else(|| "expected a whole number from 1 to 100000".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (text, ns) in [
            ("0", 0),
            ("1767323045", 1_767_323_045_000_000_000),
            ("1767323045.123456789", 1_767_323_045_123_456_789),
            ("1.5", 1_500_000_000),
            ("2026-01-02T03:04:05Z", 1_767_323_045_000_000_000),
            ("2026-01-02T04:04:05.25+01:00", 1_767_323_045_250_000_000),
            ("1970-01-01T00:00:10Z", 10_000_000_000),
        ] {
            assert_eq!(parse_time_ns(text), Ok(ns), "{text}");
        }
        for text in [
            "",
            "now",
            "-5",
            "1e9",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "1969-12-31T23:59:59Z",
            "9999999999999",
        ] {
            assert!(parse_time_ns(text).unwrap_err().contains("such as 2026-01-02T03:04:05Z"), "{text}");
        }
    }

    #[test]
    fn every_function_offered_is_one() {
        for name in FUNCTIONS {
            assert_eq!(Function::from_str(name).map(|function| function.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn a_range_is_all_or_a_time() {
        assert_eq!(parse_range("all"), Ok(RangeChoice::All));
        assert_eq!(parse_range("7d"), Ok(RangeChoice::Last(Duration::from_secs(604_800))));
        for text in ["0s", "ever", "90"] {
            assert!(parse_range(text).unwrap_err().contains("or all"), "{text}");
        }
    }
}
