//! What names and single values in a plan may be.

use crate::batch::{Scalar, Type};
use crate::json::{At, Fault};
use crate::problem::Problem;

/// Longest name, in bytes.
const MAX_LENGTH: usize = 64;

/// That a name can be told in messages, templates and tables without quotes.
pub(crate) fn check(name: &str, at: &At<'_>) -> Result<(), Fault> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if name.is_empty() || name.len() > MAX_LENGTH || !name.chars().all(allowed) {
        return Err(at.fault(Problem::Name { name: name.into() }));
    }
    Ok(())
}

/// A name as a value.
pub(crate) fn read(at: &At<'_>) -> Result<String, Fault> {
    let name = at.text()?;
    check(name, at)?;
    Ok(name.into())
}

/// A value of this type.
pub(crate) fn scalar(at: &At<'_>, kind: Type) -> Result<Scalar, Fault> {
    let expected = match kind {
        Type::Float => "a number",
        Type::Int => "a whole number of 64 bits",
        Type::Text => "a text",
    };
    Scalar::of_json(at.value, kind).ok_or_else(|| at.wrong_type(expected))
}
