//! The axis of time: round moments to mark, and how they are written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Times;
use super::axis::{Axis, Tick};
use crate::format;
use virtmark_model::Unit;

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;
/// Latest time that the calendar knows: the end of the year 9999.
const LATEST_NS: i128 = 253_402_207_200 * SECOND;

/// Marks of an axis that counts from `from_ns` on and reaches to `to_ns`, about `wanted` of them, and the axis's name.
///
/// A start at 0 is where an axis of [`Times::SinceStart`] begins.
pub(super) fn ticks(
    times: Times,
    axis: &Axis,
    (from_ns, to_ns): (u64, u64),
    wanted: usize,
) -> (Vec<Tick>, String) {
    match times {
        Times::SinceStart => {
            let scale = format::scale(Unit::Ns, to_ns as f64);
            (axis.ticks(scale.size, wanted), format!("time since the start, in {}", scale.symbol))
        }
        Times::Utc => universal(from_ns.into(), to_ns.into(), wanted.max(1) as i128),
    }
}

fn universal(from_ns: i128, to_ns: i128, wanted: i128) -> (Vec<Tick>, String) {
    let step = step((to_ns - from_ns + wanted - 1) / wanted);
    let mut ticks = Vec::new();
    let mut at = (from_ns + step - 1) / step * step;
    while at <= to_ns {
        ticks.push(Tick { value: (at - from_ns) as f64, label: label(at, step) });
        at += step;
    }
    let (first_day, last_day) = (date(from_ns), date(to_ns));
    let name = if first_day == last_day {
        format!("{first_day}, UTC")
    } else {
        format!("{first_day} to {last_day}, UTC")
    };
    (ticks, name)
}

/// The first step that people count in and that is not below what is wanted, nanoseconds.
fn step(wanted: i128) -> i128 {
    let parts = [1, 2, 5];
    let below_second = (0..9).flat_map(|power| parts.map(|part| part * 10i128.pow(power)));
    let sixties = |unit: i128| [1, 2, 5, 10, 15, 30].map(|part| part * unit);
    let hours = [1, 2, 3, 6, 12].map(|part| part * HOUR);
    let days = (0..6).flat_map(|power| parts.map(|part| part * 10i128.pow(power) * DAY));
    let mut steps = below_second.chain(sixties(SECOND)).chain(sixties(MINUTE)).chain(hours).chain(days);
    // All times that 64 bits of nanoseconds can hold are less than 500,000 days.
    steps.find(|step| *step >= wanted).unwrap_or(1_000_000 * DAY)
}

/// A date at midnight and where days are counted, else the time of day as exactly as the step needs.
fn label(at_ns: i128, step_ns: i128) -> String {
    if at_ns % DAY == 0 {
        let full = date(at_ns);
        return if step_ns < 300 * DAY { full.get(5..).unwrap_or_default().to_owned() } else { full };
    }
    let format = if step_ns % MINUTE == 0 { "%H:%M" } else { "%H:%M:%S" };
    let whole = zoned(at_ns, format);
    if step_ns % SECOND == 0 {
        return whole;
    }
    let decimals = (1..=9).find(|digits| step_ns % 10i128.pow(9 - digits) == 0).unwrap_or(9);
    let fraction = (at_ns % SECOND) / 10i128.pow(9 - decimals);
    format!("{whole}.{fraction:0width$}", width = decimals as usize)
}

fn date(at_ns: i128) -> String {
    zoned(at_ns, "%Y-%m-%d")
}

fn zoned(at_ns: i128, format: &str) -> String {
    let at = Timestamp::from_nanosecond(at_ns.min(LATEST_NS)).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Labels and name for a span that starts at 2026-01-02 03:04:05 UTC.
    fn told(span_ns: i128) -> (Vec<String>, String) {
        let from_ns = 1_767_323_045 * SECOND;
        let (ticks, name) = universal(from_ns, from_ns + span_ns, 6);
        (ticks.into_iter().map(|tick| tick.label).collect(), name)
    }

    #[test]
    fn times_are_told_as_exactly_as_their_distance_needs() {
        let (labels, name) = told(45 * SECOND);
        assert_eq!(labels, ["03:04:10", "03:04:20", "03:04:30", "03:04:40", "03:04:50"]);
        assert_eq!(name, "2026-01-02, UTC");
        assert_eq!(told(SECOND).0[..2], ["03:04:05.0", "03:04:05.2"]);
        assert_eq!(told(10 * MINUTE).0[..2], ["03:06", "03:08"]);
        let (labels, name) = told(DAY);
        assert_eq!(labels, ["06:00", "12:00", "18:00", "01-03"]);
        assert_eq!(name, "2026-01-02 to 2026-01-03, UTC");
        assert_eq!(told(7 * DAY).0, ["01-03", "01-05", "01-07", "01-09"]);
        assert!(told(40 * 365 * DAY).0.iter().all(|label| label.len() == 10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn marks_are_few_ascend_and_differ(from in 0u64..=i64::MAX as u64, magnitude in 0u32..62) {
            let to = from.saturating_add(1 << magnitude);
            let (ticks, name) = universal(from.into(), to.into(), 7);
            prop_assert!(ticks.len() <= 8, "{ticks:?}");
            prop_assert!(ticks.windows(2).all(|pair| pair[0].label != pair[1].label), "{ticks:?}");
            for tick in &ticks {
                prop_assert!((0.0..=(to - from) as f64).contains(&tick.value), "{tick:?}");
            }
            prop_assert!(name.ends_with(", UTC"));
        }
    }
}
