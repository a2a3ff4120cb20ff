//! A mapping file as it is written, each part with its place in the file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use toml::Spanned;

use super::answer::{
    ContentAnswer, ErrorAnswer, ExecAnswer, HealthAnswer, NoAnswer, Pointer, SnapshotAnswer, StartAnswer,
    UsageAnswer,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMapping {
    pub(super) provider: Spanned<String>,
    pub(super) base_path: Option<Spanned<String>>,
    pub(super) auth: Option<Spanned<RawAuth>>,
    #[serde(default)]
    pub(super) error: ErrorAnswer,
    pub(super) health: Option<RawOperation<HealthAnswer>>,
    pub(super) create: RawOperation<StartAnswer>,
    pub(super) exec: RawOperation<ExecAnswer>,
    pub(super) destroy: RawOperation<NoAnswer>,
    pub(super) snapshot_create: Option<RawOperation<SnapshotAnswer>>,
    pub(super) snapshot_restore: Option<RawOperation<StartAnswer>>,
    pub(super) snapshot_delete: Option<RawOperation<NoAnswer>>,
    pub(super) inspect: Option<RawOperation<UsageAnswer>>,
    pub(super) put_file: Option<RawOperation<NoAnswer>>,
    pub(super) get_file: Option<RawOperation<ContentAnswer>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RawAuth {
    Bearer,
    Header { name: String },
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation<A> {
    pub(super) method: Spanned<String>,
    pub(super) path: Spanned<String>,
    pub(super) body: Option<Spanned<Node>>,
    pub(super) success: Option<Spanned<Vec<u16>>>,
    pub(super) answer: Option<Spanned<A>>,
    pub(super) poll: Option<Spanned<RawPoll>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPoll {
    pub(super) method: Spanned<String>,
    pub(super) path: Spanned<String>,
    pub(super) at: Pointer,
    pub(super) ready: Option<Vec<Plain>>,
    #[serde(default)]
    pub(super) failed: Vec<Plain>,
    pub(super) interval_ms: Spanned<u64>,
    pub(super) limit_ms: Option<u64>,
}

/// A value that a field is compared with.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Plain {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl From<Plain> for Value {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Bool(value) => value.into(),
            Plain::Number(value) => value.into(),
            Plain::Text(value) => value.into(),
        }
    }
}

/// TOML that will be JSON.
pub(super) enum Node {
    Array(Vec<Spanned<Node>>),
    Fixed(Value),
    Object(BTreeMap<String, Spanned<Node>>),
    Text(String),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number, true or false, an array or a table")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Fixed(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Fixed(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        serde_json::Number::from_f64(value)
            .map(|number| Node::Fixed(Value::Number(number)))
            .ok_or_else(|| E::custom("JSON has no such number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = fields.next_entry::<String, Spanned<Node>>()? {
            if key.starts_with("$__") {
                return Err(A::Error::custom("JSON has no dates; write it as a text"));
            }
            object.insert(key, value);
        }
        Ok(Node::Object(object))
    }
}
