//! When to try again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;

/// Waits that grow: each is random between nothing and a bound that doubles, so that those who failed together do not
/// come back together. This is the "full jitter" of
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug)]
pub(super) struct Backoff {
    bound: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { bound: first.min(longest), longest }
    }

    /// The next wait, for a random number from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let wait = self.bound.mul_f64(random);
        self.bound = self.bound.saturating_mul(2).min(self.longest);
        wait
    }
}

/// A number from 0 to 1, not for secrets: the standard library seeds each of these hashers with another random key.
pub(super) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u64) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// How long a `Retry-After` header asks to wait: seconds, or until a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if header.bytes().all(|byte| byte.is_ascii_digit()) {
        return header.parse().ok().map(Duration::from_secs);
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-10-21T07:28:00Z".parse().unwrap();
        let seconds = |header| retry_after(header, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:30 GMT"), Some(30));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:27:00 GMT"), Some(0), "a date that is over");
        for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(seconds(nonsense), None, "{nonsense:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn waits_are_below_a_bound_that_doubles_up_to_the_longest(
            first_ms in 1u64..1000, longest_ms in 1u64..100_000, randoms in prop::collection::vec(0.0..1.0, 1..40),
        ) {
            let (first, longest) = (Duration::from_millis(first_ms), Duration::from_millis(longest_ms));
            let mut backoff = Backoff::new(first, longest);
            for (at, random) in randoms.into_iter().enumerate() {
                let bound = f64::powi(2.0, at as i32) * first.as_secs_f64();
                let expected = random * bound.min(longest.as_secs_f64());
                prop_assert!((backoff.next(random).as_secs_f64() - expected).abs() < 1e-6);
            }
        }

        #[test]
        fn random_numbers_are_between_0_and_1(_ in 0..16) {
            let (one, other) = (random(), random());
            prop_assert!((0.0..1.0).contains(&one) && (0.0..1.0).contains(&other));
            prop_assert!(one != other);
        }
    }
}
