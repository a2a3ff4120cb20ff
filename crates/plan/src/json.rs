//! JSON with the place of every value.

use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::problem::{Place, PlanError, Problem};

/// A plan's text, for errors to point into.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: Option<&'a Path>,
}

impl Source<'_> {
    /// Reads the text; a key twice in one object is an error, since one of the two would be lost.
    pub(crate) fn read(self) -> Result<Value, PlanError> {
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let read = Unique.deserialize(&mut deserializer).and_then(|value| {
            deserializer.end()?;
            Ok(value)
        });
        read.map_err(|error| {
            let text = error.to_string();
            // The place is told in front.
            let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why).to_owned();
            let place = Place {
                file: self.file.map(Path::to_owned),
                line: error.line().max(1),
                column: error.column().max(1),
                pointer: None,
            };
            PlanError { place, problem: Box::new(Problem::Syntax { why }) }
        })
    }

    /// Says where a problem is.
    pub(crate) fn locate(self, fault: Fault) -> PlanError {
        let offsets = Scanner { text: self.text.as_bytes(), at: 0 }.find(&fault.pointer);
        let offset = if fault.problem.is_about_key() { offsets.key } else { offsets.value };
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let place = Place {
            file: self.file.map(Path::to_owned),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            pointer: Some(fault.pointer),
        };
        PlanError { place, problem: Box::new(fault.problem) }
    }
}

/// A problem with the pointer to its value; line and column come later.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) pointer: String,
    pub(crate) problem: Problem,
}

/// A value of the plan and where it is.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    pub(crate) pointer: String,
}

impl<'a> At<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    pub(crate) fn fault(&self, problem: Problem) -> Fault {
        Fault { pointer: self.pointer.clone(), problem }
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> Fault {
        self.fault(Problem::WrongType { expected, found: describe(self.value) })
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self { value, pointer: format!("{}/{key}", self.pointer) }
    }

    /// Its members, by name; an error when it is no object.
    pub(crate) fn members(&self) -> Result<Vec<(&'a str, Self)>, Fault> {
        let Value::Object(members) = self.value else { return Err(self.wrong_type("an object")) };
        Ok(members.iter().map(|(key, value)| (key.as_str(), self.below(key, value))).collect())
    }

    /// Its elements; an error when it is no array.
    pub(crate) fn elements(&self) -> Result<Vec<Self>, Fault> {
        let Value::Array(elements) = self.value else { return Err(self.wrong_type("an array")) };
        let numbered = elements.iter().enumerate();
        Ok(numbered.map(|(at, value)| self.below(&at.to_string(), value)).collect())
    }

    /// A member, if it is there; an error when this is no object.
    pub(crate) fn optional(&self, key: &str) -> Result<Option<Self>, Fault> {
        let Value::Object(members) = self.value else { return Err(self.wrong_type("an object")) };
        Ok(members.get(key).map(|value| self.below(key, value)))
    }

    /// A member that must be there.
    pub(crate) fn required(&self, key: &str, expected: &'static str) -> Result<Self, Fault> {
        let missing = || self.fault(Problem::Missing { key: key.into(), expected });
        self.optional(key)?.ok_or_else(missing)
    }

    /// That there are no other members than these.
    pub(crate) fn only(&self, keys: &[&str]) -> Result<(), Fault> {
        for (key, member) in self.members()? {
            if !keys.contains(&key) {
                return Err(member.fault(Problem::unknown("key", key, keys.iter().copied())));
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a text"))
    }

    /// A finite number.
    pub(crate) fn number(&self) -> Result<f64, Fault> {
        self.value.as_f64().ok_or_else(|| self.wrong_type("a number"))
    }

    /// A number of things, from `min` to `max`.
    pub(crate) fn count(&self, min: u64, max: u64) -> Result<u64, Fault> {
        if !self.value.is_number() {
            return Err(self.wrong_type("a whole number"));
        }
        let count = self.value.as_u64().filter(|count| (min..=max).contains(count));
        count.ok_or_else(|| {
            let expected = format!("a whole number from {min} to {max}");
            self.fault(Problem::OutOfRange { found: self.value.to_string(), expected })
        })
    }

    /// One of these words, by its name.
    pub(crate) fn one_of<T: Copy>(&self, what: &'static str, words: &[(&str, T)]) -> Result<T, Fault> {
        let word = self.text()?;
        let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        let unknown = || self.fault(Problem::unknown(what, word, words.iter().map(|(name, _)| *name)));
        found.ok_or_else(unknown)
    }
}

/// A kind of value in words.
pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "an array",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::Object(_) => "an object",
        Value::String(_) => "a text",
    }
}

/// Reads a value in which no object has a key twice.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(Unique)? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key_seed(Key)? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is there twice in one object")));
            }
            let value = members.next_value_seed(Unique)?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// Where a member's key and its value begin, in bytes.
#[derive(Clone, Copy)]
struct Offsets {
    key: usize,
    value: usize,
}

/// Walks over text that is known to be JSON. A pointer to nothing ends at the last value on its way.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn find(mut self, pointer: &str) -> Offsets {
        self.space();
        let mut found = Offsets { key: self.at, value: self.at };
        for token in pointer.split('/').skip(1) {
            match self.enter(&token.replace("~1", "/").replace("~0", "~")) {
                Some(inner) => found = inner,
                None => break,
            }
        }
        found
    }

    /// Goes to the member or element of this name in the value that begins here.
    fn enter(&mut self, token: &str) -> Option<Offsets> {
        let is_object = match self.peek() {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        self.at += 1;
        let mut element = 0_usize;
        loop {
            self.space();
            if matches!(self.peek(), b'}' | b']' | 0) {
                return None;
            }
            let key = self.at;
            let is_it = if is_object {
                self.value();
                let name: Option<String> = serde_json::from_slice(&self.text[key..self.at]).ok();
                self.space();
                self.at += 1;
                self.space();
                name.as_deref() == Some(token)
            } else {
                element.to_string() == token
            };
            if is_it {
                return Some(Offsets { key, value: self.at });
            }
            self.value();
            self.space();
            if self.peek() == b',' {
                self.at += 1;
            }
            element += 1;
        }
    }

    /// Goes past the value that begins here.
    fn value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                0 => return,
                b'"' => self.string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.word(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while !matches!(self.peek(), b'"' | 0) {
            self.at += if self.peek() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
    }

    fn word(&mut self) {
        while !matches!(self.peek(), 0 | b',' | b':' | b'}' | b']') && !self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    /// The byte here; 0, which is in no JSON, behind the end.
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source { text, file: None }
    }

    fn place(text: &str, pointer: &str) -> (usize, usize) {
        let fault = Fault { pointer: pointer.into(), problem: Problem::NoNodes };
        let place = source(text).locate(fault).place;
        (place.line, place.column)
    }

    #[test]
    fn every_value_is_found_where_it_is() {
        let text = "{\n  \"a/b\": [1, {\"ü\": \"x, \\\"y\", \"c~\": true}],\n  \"d\": {}\n}";
        assert_eq!(place(text, ""), (1, 1));
        assert_eq!(place(text, "/a~1b"), (2, 10));
        assert_eq!(place(text, "/a~1b/0"), (2, 11));
        assert_eq!(place(text, "/a~1b/1/ü"), (2, 20));
        assert_eq!(place(text, "/a~1b/1/c~0"), (2, 36));
        assert_eq!(place(text, "/d"), (3, 8));
    }

    #[test]
    fn a_problem_with_a_key_points_at_the_key() {
        let text = "{\"a\": 1,\n \"bad\": 2}";
        let fault = Fault { pointer: "/bad".into(), problem: Problem::unknown("key", "bad", ["a"]) };
        let place = source(text).locate(fault).place;
        assert_eq!((place.line, place.column), (2, 2));
    }

    #[test]
    fn a_key_twice_is_an_error_with_its_place() {
        let error = source("{\"a\": 1,\n\"b\": {\"c\": 1, \"c\": 2}}").read().unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 17: this is not JSON: the key \"c\" is there twice in one object"
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],: ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = "[a-z/~\"{} ]{0,4}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn check(at: &At<'_>, text: &str) {
        let offset = Scanner { text: text.as_bytes(), at: 0 }.find(&at.pointer).value;
        let found = serde_json::Deserializer::from_str(&text[offset..]).into_iter::<Value>().next();
        assert_eq!(found.unwrap().unwrap(), *at.value, "{}", at.pointer);
        at.members().into_iter().flatten().for_each(|(_, member)| check(&member, text));
        at.elements().into_iter().flatten().for_each(|element| check(&element, text));
    }

    proptest! {
        #[test]
        fn a_pointer_leads_to_the_value_it_names(value in json(), pretty: bool) {
            let text =
                if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(&source(&text).read().unwrap(), &value);
            check(&At::root(&value), &text);
        }
    }
}
