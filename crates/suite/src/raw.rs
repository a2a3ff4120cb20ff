//! A step as the file has it, before anybody knows whether its words mean something.

use toml::de::DeValue;

use crate::{Place, Problem};

/// A step of a suite file.
#[derive(Clone, Debug, PartialEq)]
pub struct RawStep {
    /// Where it begins.
    pub place: Place,
    /// The command with its words: `tti`, `guest cpu`.
    pub run: String,
    /// Where `run` is said.
    pub run_place: Place,
    /// Everything that is not the suite's own, in the order of the file.
    pub parameters: Vec<Parameter>,
}

/// A key of a step that is the command's.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As it is written: `iterations`, `working_set`.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// What it is set to.
    pub value: Value,
    /// Where the value stands.
    pub value_place: Place,
}

/// What a key is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Several: of an option that may be repeated, or one that takes a list.
    Many(Vec<String>),
    /// A word or a number, as the command line would have it.
    One(String),
    /// On or off.
    Switch(bool),
}

impl Value {
    /// The value, or what is wrong with it.
    pub(crate) fn of(value: &DeValue<'_>, place: Place) -> Result<Self, Problem> {
        match value {
            DeValue::Boolean(on) => Ok(Self::Switch(*on)),
            DeValue::Array(items) => {
                let words = items.iter().map(|item| word(item.get_ref()));
                words.collect::<Option<_>>().map(Self::Many).ok_or_else(|| {
                    Problem::new(place, "a list holds words and numbers only, such as [1, 2] or [\"a\"]")
                })
            }
            DeValue::Datetime(_) | DeValue::Table(_) => Err(Problem::new(
                place,
                "expected a word, a number, true, false, or a list of words or numbers",
            )),
            one => word(one).map(Self::One).ok_or_else(|| Problem::new(place, "this number is none")),
        }
    }
}

/// A word or a number as the command line would have it.
fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => integer(number).map(|number| number.to_string()),
        // As it is written, so that 0.1 stays 0.1.
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// The number, whatever its base.
pub(crate) fn integer(number: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
