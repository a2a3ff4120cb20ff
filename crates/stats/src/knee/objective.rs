//! Service level objectives as people write them: `p99<20ms,errors<0.1%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::figures::significant;
use super::levels::LevelRun;

/// What an objective is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of the requests that failed, 0 to 1.
    Errors,
    /// Largest latency, nanoseconds.
    Max,
    /// Median latency, nanoseconds.
    P50,
    /// 90th percentile of latency, nanoseconds.
    P90,
    /// 99th percentile of latency, nanoseconds.
    P99,
    /// Requests that succeeded, per second.
    Qps,
}

impl Metric {
    const ALL: [Self; 6] = [Self::P50, Self::P90, Self::P99, Self::Max, Self::Errors, Self::Qps];

    /// The name used in an objective.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Max => "max",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Qps => "qps",
        }
    }

    /// The metric of one run, in the metric's unit; none when it was not measured.
    pub fn of(self, run: &LevelRun) -> Option<f64> {
        match self {
            Self::Errors => run.error_ratio,
            Self::Max => run.latency.map(|latency| latency.max_ns as f64),
            Self::P50 => run.latency.map(|latency| latency.p50_ns as f64),
            Self::P90 => run.latency.map(|latency| latency.p90_ns as f64),
            Self::P99 => run.latency.map(|latency| latency.p99_ns as f64),
            Self::Qps => Some(run.throughput),
        }
    }

    /// A value of this metric with the unit people write it in.
    pub fn format(self, value: f64) -> String {
        match self {
            // Nine decimals hide that 0.1 % times 100 is not quite 0.1.
            Self::Errors => format!("{}%", (value * 1e11).round() / 1e9),
            Self::Qps => format!("{value}"),
            Self::Max | Self::P50 | Self::P90 | Self::P99 => {
                let (unit, size) = unit_of(value);
                format!("{}{unit}", value / size)
            }
        }
    }

    /// A value that was observed, with as many digits as people read.
    pub(super) fn format_observed(self, value: f64) -> String {
        match self {
            Self::Errors => format!("{}%", significant(value * 100.0)),
            Self::Qps => significant(value),
            Self::Max | Self::P50 | Self::P90 | Self::P99 => {
                let (unit, size) = unit_of(value);
                format!("{}{unit}", significant(value / size))
            }
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Units of latency in nanoseconds, largest first.
const UNITS: [(&str, f64); 4] = [("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];

/// The unit in which a latency is written.
fn unit_of(ns: f64) -> (&'static str, f64) {
    UNITS.into_iter().find(|unit| ns >= unit.1).unwrap_or(("ns", 1.0))
}

/// The side of the limit that keeps an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Above the limit (`>`).
    Above,
    /// At the limit or above it (`>=`).
    AtLeast,
    /// At the limit or below it (`<=`).
    AtMost,
    /// Below the limit (`<`).
    Below,
}

impl Bound {
    /// How the bound is written; longer ones first, because the shorter begin them.
    const ALL: [(&'static str, Self); 4] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Below), (">", Self::Above)];

    fn symbol(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }

    fn is_upper(self) -> bool {
        matches!(self, Self::AtMost | Self::Below)
    }
}

/// One condition of an [`Slo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// What it is about.
    pub metric: Metric,
    /// Which side of the limit keeps it.
    pub bound: Bound,
    /// The limit, in the unit of the metric: nanoseconds, a share from 0 to 1, or requests per second.
    pub limit: f64,
}

impl Objective {
    /// Whether a value, in the unit of the metric, keeps the objective.
    pub fn is_kept_by(&self, value: f64) -> bool {
        match self.bound {
            Bound::Above => value > self.limit,
            Bound::AtLeast => value >= self.limit,
            Bound::AtMost => value <= self.limit,
            Bound::Below => value < self.limit,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric, self.bound.symbol(), self.metric.format(self.limit))
    }
}

impl FromStr for Objective {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let text = text.trim();
        let error = |problem| SloError { objective: text.to_owned(), problem };
        let at = text.find(['<', '>']).ok_or_else(|| error(Problem::NoBound))?;
        let (name, rest) = text.split_at(at);
        let name = name.trim();
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        let metric = metric.ok_or_else(|| error(Problem::Metric { name: name.to_owned() }))?;
        let bound =
            Bound::ALL.into_iter().find_map(|(symbol, bound)| Some((bound, rest.strip_prefix(symbol)?)));
        let (bound, value) = bound.ok_or_else(|| error(Problem::NoBound))?;
        if bound.is_upper() == (metric == Metric::Qps) {
            return Err(error(Problem::Side { metric }));
        }
        let limit = limit(metric, value.trim()).map_err(error)?;
        if limit == 0.0 && bound == Bound::Below {
            return Err(error(Problem::NeverKept { metric }));
        }
        Ok(Self { metric, bound, limit })
    }
}

/// A service level objective: conditions that all have to be kept.
///
/// Written `metric<limit` or `metric<=limit`, joined by commas; the metrics are `p50`, `p90`, `p99` and `max` with
/// `ns`, `us` (`µs`), `ms` or `s`, `errors` with `%` or as a share from 0 to 1, and `qps`, which has a lower limit
/// (`qps>1000`). Spaces do not matter. As JSON it is the same text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Slo(Vec<Objective>);

impl Slo {
    /// The conditions, at least one, each of another metric, in the order written.
    pub fn objectives(&self) -> &[Objective] {
        &self.0
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let mut objectives: Vec<Objective> = Vec::new();
        for part in text.split(',') {
            let objective: Objective = part.parse()?;
            if objectives.iter().any(|other| other.metric == objective.metric) {
                let problem = Problem::Twice { metric: objective.metric };
                return Err(SloError { objective: part.trim().to_owned(), problem });
            }
            objectives.push(objective);
        }
        Ok(Self(objectives))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, objective)| {
            if index > 0 {
                f.write_str(",")?;
            }
            objective.fmt(f)
        })
    }
}

impl From<Slo> for String {
    fn from(slo: Slo) -> Self {
        slo.to_string()
    }
}

impl TryFrom<String> for Slo {
    type Error = SloError;

    fn try_from(text: String) -> Result<Self, SloError> {
        text.parse()
    }
}

/// Why a text is not a service level objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the objective '{objective}': {problem}")]
pub struct SloError {
    objective: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("'{name}' is no metric; use one of p50, p90, p99, max, errors, qps")]
    Metric { name: String },
    #[error("{metric} is never below 0; write {metric}<=0 or a limit above 0")]
    NeverKept { metric: Metric },
    #[error("it has no limit; write a metric, < or > and a limit, such as p99<20ms or errors<0.1%")]
    NoBound,
    #[error("'{value}' is not a number of 0 or more")]
    Number { value: String },
    #[error("a share of '{value}' is over 100 %; write errors<0.1% or errors<0.001")]
    Share { value: String },
    #[error("{}", if *.metric == Metric::Qps {
        "qps is to be high; give it a lower limit, such as qps>1000".to_owned()
    } else {
        format!("{metric} is to be low; give it an upper limit with < or <=")
    })]
    Side { metric: Metric },
    #[error("{metric} already has a limit; give each metric once")]
    Twice { metric: Metric },
    #[error("'{value}' needs {}", if *.metric == Metric::Qps {
        "no unit; write requests per second, such as qps>1000"
    } else if *.metric == Metric::Errors {
        "'%' or no unit, such as errors<0.1%"
    } else {
        "a unit of ns, us, ms or s, such as 20ms"
    })]
    Unit { metric: Metric, value: String },
}

/// The limit in the unit of the metric.
fn limit(metric: Metric, value: &str) -> Result<f64, Problem> {
    let end = value.rfind(|c: char| c.is_ascii_digit() || c == '.').map_or(0, |last| last + 1);
    let (digits, unit) = (&value[..end], value[end..].trim());
    // Digits alone: a sign, an exponent or "inf" is a mistake here.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = if plain { digits.parse().ok().filter(|number: &f64| number.is_finite()) } else { None };
    let number = number.ok_or_else(|| Problem::Number { value: value.to_owned() })?;
    let size = match (metric, unit) {
        (Metric::Errors, "%") => Some(0.01),
        (Metric::Errors | Metric::Qps, "") => Some(1.0),
        (Metric::Errors | Metric::Qps, _) => None,
        // Both the micro sign and the Greek letter are typed.
        (_, "µs" | "μs") => Some(1e3),
        (_, unit) => UNITS.into_iter().find(|known| known.0 == unit).map(|known| known.1),
    };
    let size = size.ok_or_else(|| Problem::Unit { metric, value: value.to_owned() })?;
    // Latencies are whole nanoseconds; dividing by 100 is exact where multiplying by 0.01 is not.
    let limit = if size < 1.0 { number / size.recip() } else { number * size };
    let limit = if matches!(metric, Metric::Errors | Metric::Qps) { limit } else { limit.round() };
    if metric == Metric::Errors && limit > 1.0 {
        return Err(Problem::Share { value: value.to_owned() });
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> String {
        text.parse::<Slo>().unwrap_err().to_string()
    }

    #[test]
    fn what_people_write() {
        let slo: Slo = " p99 < 20ms, errors<0.1% ,qps>=1500,max<=1.5s,p50<250µs,p90<7 ns".parse().unwrap();
        assert_eq!(slo.to_string(), "p99<20ms,errors<0.1%,qps>=1500,max<=1.5s,p50<250us,p90<7ns");
        let limits: Vec<f64> = slo.objectives().iter().map(|objective| objective.limit).collect();
        assert_eq!(limits, [20e6, 0.001, 1500.0, 1.5e9, 250e3, 7.0]);
        assert_eq!("errors<0.001".parse::<Slo>().unwrap().to_string(), "errors<0.1%");
        assert_eq!("errors<=0".parse::<Slo>().unwrap().to_string(), "errors<=0%");
    }

    #[test]
    fn bounds_include_their_limit_only_where_written() {
        let kept = |text: &str, value| text.parse::<Objective>().unwrap().is_kept_by(value);
        assert!(!kept("p99<20ms", 20e6) && kept("p99<20ms", 19_999_999.0) && kept("p99<=20ms", 20e6));
        assert!(!kept("qps>10", 10.0) && kept("qps>=10", 10.0) && kept("qps>10", 10.1));
        assert!(!kept("errors<0.1%", 0.001) && kept("errors<=0.1%", 0.001));
    }

    #[test]
    fn every_mistake_is_told_apart() {
        for (text, part) in [
            ("", "cannot use the objective '': it has no limit"),
            ("p99<20ms,", "'': it has no limit"),
            ("p99", "'p99': it has no limit; write a metric, < or >"),
            ("p99=20ms", "it has no limit"),
            ("p95<20ms", "'p95' is no metric; use one of p50, p90, p99, max, errors, qps"),
            ("<20ms", "'' is no metric"),
            ("p99<", "'' is not a number"),
            ("p99<fast", "'fast' is not a number"),
            ("p99<-1ms", "'-1ms' is not a number of 0 or more"),
            ("p99<1e3ms", "'1e3ms' is not a number"),
            ("p99<1.2.3ms", "'1.2.3ms' is not a number"),
            ("p99<<20ms", "'<20ms' is not a number"),
            ("p99<20min", "'20min' needs a unit of ns, us, ms or s"),
            ("p99<20", "'20' needs a unit"),
            ("p99<0ms", "p99 is never below 0; write p99<=0 or a limit above 0"),
            ("p99>20ms", "p99 is to be low; give it an upper limit"),
            ("errors<1ms", "'1ms' needs '%' or no unit"),
            ("errors<5", "a share of '5' is over 100 %"),
            ("errors<0%", "errors is never below 0; write errors<=0"),
            ("errors>=1%", "errors is to be low"),
            ("qps<1000", "qps is to be high; give it a lower limit, such as qps>1000"),
            ("qps>1000/s", "'1000/s' needs no unit"),
            ("p99<1ms,p99<2ms", "'p99<2ms': p99 already has a limit"),
        ] {
            assert!(message(text).contains(part), "{text}: {}", message(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            latency in 1u32..2_000_000_000, errors in 1u32..=1_000_000, qps in 0u32..1_000_000_000,
        ) {
            let text = format!("p90<={latency}ns,errors<{}%,qps>{qps}", f64::from(errors) / 1e4);
            let slo: Slo = text.parse().unwrap();
            prop_assert_eq!(slo.objectives()[0].limit, f64::from(latency));
            prop_assert!((slo.objectives()[1].limit - f64::from(errors) / 1e6).abs() < 1e-15);
            prop_assert_eq!(slo.to_string().parse::<Slo>().unwrap(), slo.clone());
            let json = serde_json::to_string(&slo).unwrap();
            prop_assert_eq!(serde_json::from_str::<Slo>(&json).unwrap(), slo);
        }

        #[test]
        fn no_text_is_a_panic(text in "[pqmerx059<>=.,%a-z µ-]{0,16}") {
            if let Ok(slo) = text.parse::<Slo>() {
                prop_assert!(!slo.objectives().is_empty());
            }
        }
    }
}
