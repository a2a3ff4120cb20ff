//! Times as manifests write them: seconds, with a fraction if need be.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// The longest time that may be given, in seconds: a week. No payload is worth more; beyond, sums of durations would have
/// to be checked everywhere.
pub const LONGEST_S: f64 = 7.0 * 24.0 * 3600.0;

/// A time of so many seconds: more than zero, at most [`LONGEST_S`].
pub fn time_of(seconds: f64) -> Option<Duration> {
    (seconds > 0.0 && seconds <= LONGEST_S).then(|| Duration::from_secs_f64(seconds))
}

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&time.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let told = || format!("{seconds} is not between 0 and {LONGEST_S} seconds (a week); give such a number");
    time_of(seconds).map(Some).ok_or_else(|| de::Error::custom(told()))
}
