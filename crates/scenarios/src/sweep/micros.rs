//! Latencies: nanoseconds here, microseconds with up to three decimals in the files.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 11 days in nanoseconds: below, nanoseconds survive as thousandths in any reader's numbers.
pub(super) const LIMIT_NS: u64 = 1_000_000_000_000_000;

/// Microseconds as text, exactly: `812.345`, `800`.
pub(super) fn text(ns: u64) -> String {
    let (whole, part) = (ns / 1000, ns % 1000);
    if part == 0 {
        return whole.to_string();
    }
    format!("{whole}.{part:03}").trim_end_matches('0').into()
}

/// Nanoseconds from microseconds, to the nearest whole one.
pub(super) fn to_ns(us: f64) -> Result<u64, String> {
    let ns = (us * 1000.0).round();
    if (0.0..=LIMIT_NS as f64).contains(&ns) {
        Ok(ns as u64)
    } else {
        Err(format!("{us} is no latency: expected microseconds from 0 to {}", LIMIT_NS / 1000))
    }
}

pub(super) fn serialize<S: Serializer>(ns: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match ns {
        None => serializer.serialize_none(),
        Some(ns) if ns % 1000 == 0 => (ns / 1000).serialize(serializer),
        Some(ns) => (*ns as f64 / 1000.0).serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let us = Option::<f64>::deserialize(deserializer)?;
    us.map(to_ns).transpose().map_err(serde::de::Error::custom)
}
