//! Whole numbers as JSON knows them: `60.0` is as whole as `60`, and some clients write it so.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// The largest whole number up to which every one has a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number that may be absent or null.
pub(super) fn optional<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_option(Optional(PhantomData))
}

struct Optional<T>(PhantomData<T>);

impl<'de, T: TryFrom<u64>> Visitor<'de> for Optional<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number that is not negative, and not too large")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        let fits = T::try_from(number);
        fits.map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
            return self.visit_u64(number as u64);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Option<u32>> {
        optional(&mut serde_json::Deserializer::from_str(json)).ok()
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        assert_eq!(read("60"), Some(Some(60)));
        assert_eq!(read("60.0"), Some(Some(60)));
        assert_eq!(read("6e1"), Some(Some(60)));
        assert_eq!(read("-0.0"), Some(Some(0)));
        assert_eq!(read("null"), Some(None));
    }

    #[test]
    fn nothing_else_is_a_whole_number() {
        for wrong in ["60.5", "-1", "-1.0", "4294967296", "1e99", "\"60\"", "true", "[]", "{}"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
