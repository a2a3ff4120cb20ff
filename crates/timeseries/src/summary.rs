//! What is kept of the samples of one slot, and what can be asked of it.

use std::fmt;
use std::str::FromStr;

use crate::slot::{NARROW_COUNT_LOST, NarrowValue, WideValue};

/// What the values of a series mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A total that only goes up, or starts again from zero.
    Counter,
    /// A level that goes up and down.
    Gauge,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// How many bytes a slot takes, and with that what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 16 bytes: the count, and the sum of a gauge or the last value of a counter. A slot of one sample keeps all.
    Narrow,
    /// 64 bytes: sum, count, min, max, first, last.
    Wide,
}

impl Width {
    /// Bytes of one slot.
    #[must_use]
    pub const fn slot_bytes(self) -> u64 {
        match self {
            Self::Narrow => 16,
            Self::Wide => 64,
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Narrow => "narrow",
            Self::Wide => "wide",
        })
    }
}

/// Samples of one stretch of time, summed up. A field is `None` when the slot's width does not keep it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of samples; `None` also when a narrow slot got more than 16,777,214.
    pub count: Option<u64>,
    /// Sum of all samples.
    pub sum: Option<f64>,
    /// Smallest sample.
    pub min: Option<f64>,
    /// Largest sample.
    pub max: Option<f64>,
    /// The sample that came first.
    pub first: Option<f64>,
    /// The sample that came last.
    pub last: Option<f64>,
}

impl Summary {
    /// The average, where sum and count are kept.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        // A count above 2^53 would take longer than a lifetime to record.
        Some(self.sum? / self.count? as f64)
    }

    /// What a function makes of it; `None` when what it needs is not kept. Rates need two summaries and give `None`.
    #[must_use]
    pub fn value(&self, function: Function) -> Option<f64> {
        match function {
            Function::Average => self.average(),
            Function::Count => self.count.map(|count| count as f64),
            Function::First => self.first,
            Function::Increase | Function::Rate => None,
            Function::Last => self.last,
            Function::Maximum => self.max,
            Function::Minimum => self.min,
            Function::Sum => self.sum,
        }
    }

    /// Takes in a summary of later samples.
    pub(crate) fn absorb(&mut self, later: &Self) {
        self.count = both(self.count, later.count, |a, b| a.saturating_add(b));
        self.sum = both(self.sum, later.sum, |a, b| a + b);
        self.min = both(self.min, later.min, f64::min);
        self.max = both(self.max, later.max, f64::max);
        self.last = later.last;
    }

    /// What a wide slot says, or `None` for numbers that no samples could have left there.
    pub(crate) fn from_wide(value: &WideValue) -> Option<Self> {
        let within = |number: f64| value.min <= number && number <= value.max;
        let plausible = value.min.is_finite() && value.max.is_finite() && !value.sum.is_nan();
        (plausible && within(value.first) && within(value.last)).then_some(Self {
            count: Some(value.count),
            sum: Some(value.sum),
            min: Some(value.min),
            max: Some(value.max),
            first: Some(value.first),
            last: Some(value.last),
        })
    }

    /// What a narrow slot says, or `None` for a number that no samples could have left there.
    pub(crate) fn from_narrow(value: &NarrowValue, kind: Kind) -> Option<Self> {
        let number = Some(value.value);
        if value.value.is_nan() {
            return None;
        }
        let nothing = Self { count: None, sum: None, min: None, max: None, first: None, last: None };
        let count = (value.count != NARROW_COUNT_LOST).then_some(value.count);
        Some(match (value.count, kind) {
            (1, _) => Self { count, sum: number, min: number, max: number, first: number, last: number },
            (_, Kind::Counter) => Self { count, last: number, ..nothing },
            (_, Kind::Gauge) => Self { count, sum: number, ..nothing },
        })
    }

    /// The contents of a wide slot; `None` when something a wide slot keeps is not known.
    pub(crate) fn to_wide(self) -> Option<WideValue> {
        Some(WideValue {
            count: self.count?,
            sum: self.sum?,
            min: self.min?,
            max: self.max?,
            first: self.first?,
            last: self.last?,
        })
    }

    /// The contents of a narrow slot; `None` when what it keeps is not known.
    pub(crate) fn to_narrow(self, kind: Kind) -> Option<NarrowValue> {
        let value = match kind {
            Kind::Counter => self.last?,
            Kind::Gauge => self.sum?,
        };
        Some(NarrowValue { count: self.count.unwrap_or(NARROW_COUNT_LOST), value })
    }
}

fn both<T>(a: Option<T>, b: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    Some(join(a?, b?))
}

/// What is asked of each slot in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Sum divided by count.
    Average,
    /// Number of samples.
    Count,
    /// The sample that came first.
    First,
    /// How much a counter grew since the slot before, resets taken into account.
    Increase,
    /// The sample that came last.
    Last,
    /// Largest sample.
    Maximum,
    /// Smallest sample.
    Minimum,
    /// How much a counter grew per second since the slot before, resets taken into account.
    Rate,
    /// Sum of all samples.
    Sum,
}

impl Function {
    const NAMES: [(&'static str, Self); 9] = [
        ("avg", Self::Average),
        ("count", Self::Count),
        ("first", Self::First),
        ("increase", Self::Increase),
        ("last", Self::Last),
        ("max", Self::Maximum),
        ("min", Self::Minimum),
        ("rate", Self::Rate),
        ("sum", Self::Sum),
    ];
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, function)| function == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Function {
    type Err = UnknownFunction;

    fn from_str(text: &str) -> Result<Self, UnknownFunction> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, function)| *function).ok_or_else(|| UnknownFunction(text.to_owned()))
    }
}

/// A name that no function has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no function is named {0:?}; there are avg, count, first, increase, last, max, min, rate and sum")]
pub struct UnknownFunction(String);
