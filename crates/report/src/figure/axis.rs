//! Axes: a range of values, where each lies on the drawing, and round numbers to mark.

/// An axis from `low` to `high`, `low` < `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Positions of the two ends on the drawing.
    from: f64,
    to: f64,
}

/// A marked position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// A linear axis with these ends.
    pub(super) fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high, logarithmic: false, from, to }
    }

    /// An axis that shows all values with a little room on both sides; logarithmic only if all are positive.
    pub(super) fn around(low: f64, high: f64, logarithmic: bool, from: f64, to: f64) -> Self {
        if logarithmic && low > 0.0 {
            let room = (high / low).powf(0.03).max(1.02);
            return Self { low: low / room, high: high * room, logarithmic: true, from, to };
        }
        let spread = high - low;
        let room = if spread > 0.0 { spread * 0.03 } else { (high.abs() * 0.05).max(0.5) };
        // Times and sizes have no negative side to leave room on.
        let low_end = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
        Self::linear(low_end, high + room, from, to)
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// Where a value lies on the drawing.
    pub(super) fn position(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers within the axis, about `wanted` of them, labelled in units of `size`.
    pub(super) fn ticks(&self, size: f64, wanted: usize) -> Vec<Tick> {
        let (low, high) = (self.low / size, self.high / size);
        if self.logarithmic {
            let ticks = logarithmic(low, high);
            if ticks.len() >= 3 {
                return ticks.into_iter().map(|tick| Tick { value: tick.value * size, ..tick }).collect();
            }
        }
        let ticks = linear(low, high, wanted);
        // One tick gives no sense of the scale, and two little.
        let ticks = if ticks.len() < 3 { linear(low, high, 2 * wanted) } else { ticks };
        ticks.into_iter().map(|tick| Tick { value: tick.value * size, ..tick }).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let rough = (high - low) / wanted.max(1) as f64;
    let power = rough.log10().floor();
    let magnitude = 10f64.powf(power);
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * magnitude >= rough * 0.75).unwrap_or(10.0);
    let decimals = if step == 10.0 { -(power + 1.0) } else { -power }.max(0.0) as usize;
    let step = step * magnitude;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last)
        .map(|multiple| {
            let value = multiple as f64 * step;
            Tick { value, label: format!("{value:.decimals$}") }
        })
        .collect()
}

/// 1, 2 and 5 of every decade; over many decades only the powers of ten.
fn logarithmic(low: f64, high: f64) -> Vec<Tick> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let within: &[f64] = if last - first > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut ticks = Vec::new();
    for power in first..=last {
        for multiple in within {
            let value = multiple * 10f64.powi(power);
            if low <= value && value <= high {
                let decimals = usize::try_from(-power).unwrap_or(0);
                ticks.push(Tick { value, label: format!("{value:.decimals$}") });
            }
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_labelled_without_excess_digits() {
        assert_eq!(labels(&linear(0.0, 1.0, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear(1.13, 1.41, 6)), ["1.15", "1.20", "1.25", "1.30", "1.35", "1.40"]);
        assert_eq!(labels(&linear(0.0, 97.0, 5)), ["0", "20", "40", "60", "80"]);
        assert_eq!(labels(&logarithmic(0.9, 60.0)), ["1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(&logarithmic(0.04, 0.3)), ["0.05", "0.1", "0.2"]);
    }

    #[test]
    fn a_single_value_still_has_an_axis_around_it() {
        for value in [0.0, 1.0, 1.2e9] {
            let axis = Axis::around(value, value, false, 0.0, 100.0);
            let at = axis.position(value);
            assert!((0.0..=100.0).contains(&at) && axis.high() > value, "{value}: {at}");
            assert!(axis.ticks(1.0, 6).len() >= 2, "{value}");
        }
    }

    #[test]
    fn values_that_are_not_positive_have_no_logarithm() {
        assert!(!Axis::around(0.0, 10.0, true, 0.0, 1.0).is_logarithmic());
        assert!(Axis::around(1.0, 10.0, true, 0.0, 1.0).is_logarithmic());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn ticks_ascend_inside_the_axis_and_say_their_value(
            low in 0.0f64..1e10, spread in 1e-3f64..1e10, logarithmic: bool, wanted in 3usize..9,
        ) {
            let axis = Axis::around(low, low + spread, logarithmic, 0.0, 800.0);
            let ticks = axis.ticks(1.0, wanted);
            prop_assert!((3..=24).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.is_sorted_by(|a, b| a.value < b.value && a.label != b.label), "{ticks:?}");
            for tick in &ticks {
                let position = axis.position(tick.value);
                prop_assert!((-0.01..=800.01).contains(&position), "{tick:?} at {position}");
                let said: f64 = tick.label.parse().unwrap();
                prop_assert!((said - tick.value).abs() <= tick.value.abs() * 1e-9 + 1e-12, "{tick:?}");
            }
        }

        #[test]
        fn order_is_kept(low in 1e-3f64..1e10, factor in 1.001f64..1e4, share in 0.0f64..1.0, logarithmic: bool) {
            let high = low * factor;
            let axis = Axis::around(low, high, logarithmic, 50.0, 750.0);
            let between = low + (high - low) * share;
            prop_assert!(50.0 <= axis.position(low) && axis.position(low) <= axis.position(between) + 1e-9);
            prop_assert!(axis.position(between) <= axis.position(high) + 1e-9 && axis.position(high) <= 750.0);
        }
    }
}
