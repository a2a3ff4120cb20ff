//! Text with placeholders, and JSON made of it.
//!
//! `{name}` stands for a value; `{{` and `}}` are braces. Text that is one placeholder and nothing else becomes the value
//! with its type (`"{vcpus}"` gives `2`), any other text becomes text. What has no value this time is left out: a field
//! of a table, a table that had fields and lost all of them, an array that lost any element.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// Something a request can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Placeholder {
    Argv,
    Cmd,
    Content,
    ContentBase64,
    Cwd,
    Env,
    Image,
    LifetimeMs,
    LifetimeS,
    MemoryBytes,
    MemoryMib,
    Mode,
    Name,
    Path,
    SandboxId,
    SnapshotId,
    Start,
    Stdin,
    StdinBase64,
    TimeoutMs,
    TimeoutS,
    Vcpus,
}

use Placeholder::*;

impl Placeholder {
    pub(crate) const ALL: [Self; 22] = [
        Argv,
        Cmd,
        Content,
        ContentBase64,
        Cwd,
        Env,
        Image,
        LifetimeMs,
        LifetimeS,
        MemoryBytes,
        MemoryMib,
        Mode,
        Name,
        Path,
        SandboxId,
        SnapshotId,
        Start,
        Stdin,
        StdinBase64,
        TimeoutMs,
        TimeoutS,
        Vcpus,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Argv => "argv",
            Cmd => "cmd",
            Content => "content",
            ContentBase64 => "content_base64",
            Cwd => "cwd",
            Env => "env",
            Image => "image",
            LifetimeMs => "lifetime_ms",
            LifetimeS => "lifetime_s",
            MemoryBytes => "memory_bytes",
            MemoryMib => "memory_mib",
            Mode => "mode",
            Name => "name",
            Path => "path",
            SandboxId => "sandbox_id",
            SnapshotId => "snapshot_id",
            Start => "start",
            Stdin => "stdin",
            StdinBase64 => "stdin_base64",
            TimeoutMs => "timeout_ms",
            TimeoutS => "timeout_s",
            Vcpus => "vcpus",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placeholder| placeholder.as_str() == name)
    }

    /// Whether its value is a list or a table, which is no part of any text.
    fn is_structured(self) -> bool {
        matches!(self, Argv | Env)
    }
}

/// What placeholders stand for in one request; what is not in it has no value.
pub(crate) type Values = BTreeMap<Placeholder, Value>;

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Hole(Placeholder),
    Text(String),
}

impl Template {
    /// Fails with what is wrong with the text, where only these placeholders are `allowed`.
    pub(crate) fn parse(text: &str, allowed: &[Placeholder]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = if brace == "{" { after.find(['{', '}']) } else { None };
            let end = end.filter(|end| after[*end..].starts_with('}')).ok_or_else(|| {
                format!("{text:?} has a brace without its partner; a brace that is meant is written twice")
            })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Hole(placeholder(&after[..end], allowed)?));
            rest = &after[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        let template = Self { pieces };
        let structured = template.holes().find(|hole| hole.is_structured());
        match structured {
            Some(hole) if template.pieces.len() > 1 => {
                Err(format!("{{{}}} is no text: it must stand alone", hole.as_str()))
            }
            _ => Ok(template),
        }
    }

    pub(crate) fn holes(&self) -> impl Iterator<Item = Placeholder> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(hole) => Some(*hole),
            Piece::Text(_) => None,
        })
    }

    /// The value; none when any of its placeholders has none.
    pub(crate) fn value(&self, values: &Values) -> Option<Value> {
        if let [Piece::Hole(hole)] = self.pieces.as_slice() {
            return values.get(hole).cloned();
        }
        self.text(values, |text, to| to.push_str(text)).map(Value::String)
    }

    /// The value as a part of a URL: what placeholders stand for is percent-encoded.
    pub(crate) fn url(&self, values: &Values) -> Option<String> {
        self.text(values, percent_encode)
    }

    fn text(&self, values: &Values, write: fn(&str, &mut String)) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Hole(hole) => match values.get(hole)? {
                    Value::String(value) => write(value, &mut text),
                    value => write(&value.to_string(), &mut text),
                },
                Piece::Text(plain) => text.push_str(plain),
            }
        }
        Some(text)
    }
}

fn placeholder(name: &str, allowed: &[Placeholder]) -> Result<Placeholder, String> {
    Placeholder::named(name).filter(|placeholder| allowed.contains(placeholder)).ok_or_else(
        || match allowed {
            [] => format!("there is no placeholder {{{name}}} here, nor any other"),
            allowed => {
                let names: Vec<String> =
                    allowed.iter().map(|placeholder| format!("{{{}}}", placeholder.as_str())).collect();
                format!("there is no placeholder {{{name}}} here; there are {}", names.join(", "))
            }
        },
    )
}

/// Everything but the unreserved characters of RFC 3986, section 2.3.
fn percent_encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(byte.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(to, "%{byte:02X}")),
        }
    }
}

/// JSON with placeholders.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JsonTemplate {
    Array(Vec<JsonTemplate>),
    Fixed(Value),
    Object(Vec<(String, JsonTemplate)>),
    Text(Template),
}

impl JsonTemplate {
    /// The JSON; none when what it needs has no value.
    pub(crate) fn fill(&self, values: &Values) -> Option<Value> {
        match self {
            Self::Array(elements) => {
                elements.iter().map(|element| element.fill(values)).collect::<Option<_>>()
            }
            Self::Fixed(value) => Some(value.clone()),
            Self::Object(fields) => {
                let filled: Map<String, Value> = fields
                    .iter()
                    .filter_map(|(key, field)| Some((key.clone(), field.fill(values)?)))
                    .collect();
                (!filled.is_empty() || fields.is_empty()).then_some(Value::Object(filled))
            }
            Self::Text(template) => template.value(values),
        }
    }

    /// Whether it says this.
    pub(crate) fn names(&self, placeholder: Placeholder) -> bool {
        match self {
            Self::Array(elements) => elements.iter().any(|element| element.names(placeholder)),
            Self::Fixed(_) => false,
            Self::Object(fields) => fields.iter().any(|(_, field)| field.names(placeholder)),
            Self::Text(template) => template.holes().any(|hole| hole == placeholder),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Replaces one placeholder after the other, and knows nothing of pieces.
    fn naive(pieces: &[Part], values: &Values) -> Option<Value> {
        if let [Part::Hole(hole)] = pieces {
            return values.get(hole).cloned();
        }
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Part::Hole(hole) => match values.get(hole)? {
                    Value::String(value) => text += value,
                    value => text += &value.to_string(),
                },
                Part::Text(plain) => text += plain,
            }
        }
        Some(Value::String(text))
    }

    #[derive(Clone, Debug)]
    enum Part {
        Hole(Placeholder),
        Text(String),
    }

    fn part() -> impl Strategy<Value = Part> {
        let simple: Vec<Placeholder> =
            Placeholder::ALL.into_iter().filter(|hole| !hole.is_structured()).collect();
        prop_oneof![
            prop::sample::select(simple).prop_map(Part::Hole),
            "[a-z{}/ \"é]{1,6}".prop_map(Part::Text),
        ]
    }

    fn values() -> impl Strategy<Value = Values> {
        let value = prop_oneof![
            any::<u32>().prop_map(Value::from),
            "[a-z{}%/ é]{0,6}".prop_map(Value::from),
            any::<bool>().prop_map(Value::from)
        ];
        prop::collection::btree_map(prop::sample::select(Placeholder::ALL.to_vec()), value, 0..22)
    }

    proptest! {
        #[test]
        fn templates_do_as_a_naive_replacement_does(parts in prop::collection::vec(part(), 1..6), values in values()) {
            let written: String = parts.iter().map(|part| match part {
                Part::Hole(hole) => format!("{{{}}}", hole.as_str()),
                Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            }).collect();
            let template = Template::parse(&written, &Placeholder::ALL).unwrap();
            prop_assert_eq!(template.value(&values), naive(&parts, &values));
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_texts_without_braces_are_themselves(text in ".{0,20}") {
            let parsed = Template::parse(&text, &Placeholder::ALL);
            if !text.contains(['{', '}']) {
                prop_assert_eq!(parsed.unwrap().value(&Values::new()), Some(Value::String(text)));
            }
        }

        #[test]
        fn a_value_in_a_url_cannot_leave_its_place(value in ".{0,20}") {
            let template = Template::parse("/a/{name}/b", &[Name]).unwrap();
            let url = template.url(&Values::from([(Name, Value::String(value.clone()))])).unwrap();
            let inner = url.strip_prefix("/a/").unwrap().strip_suffix("/b").unwrap();
            prop_assert!(inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            prop_assert_eq!(inner.is_empty(), value.is_empty());
        }
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let text = |text: &str| JsonTemplate::Text(Template::parse(text, &Placeholder::ALL).unwrap());
        let object = |fields: Vec<(&str, JsonTemplate)>| {
            JsonTemplate::Object(fields.into_iter().map(|(key, field)| (key.to_owned(), field)).collect())
        };
        let template = object(vec![
            ("cpus", text("{vcpus}")),
            ("image", text("{image}")),
            ("label", text("m-{name}")),
            ("only", object(vec![("image", text("{image}"))])),
            ("list", JsonTemplate::Array(vec![text("-c"), text("{cmd}")])),
            ("argv", text("{argv}")),
            ("fixed", JsonTemplate::Fixed(json!(true))),
            ("empty", object(Vec::new())),
        ]);
        let mut values = Values::from([(Vcpus, json!(2)), (Name, json!("one"))]);
        assert_eq!(
            template.fill(&values),
            Some(json!({ "cpus": 2, "label": "m-one", "fixed": true, "empty": {} }))
        );
        values.extend([(Cmd, json!("echo")), (Image, json!("tiny")), (Argv, json!(["a", "b"]))]);
        assert_eq!(
            template.fill(&values),
            Some(json!({
                "cpus": 2, "image": "tiny", "label": "m-one", "only": { "image": "tiny" }, "list": ["-c", "echo"],
                "argv": ["a", "b"], "fixed": true, "empty": {}
            }))
        );
    }

    #[test]
    fn bad_templates_are_refused_with_what_is_allowed() {
        let refused = |text| Template::parse(text, &[Argv, Cmd]).unwrap_err();
        assert_eq!(refused("{vcpus}"), "there is no placeholder {vcpus} here; there are {argv}, {cmd}");
        assert_eq!(refused("a {argv}"), "{argv} is no text: it must stand alone");
        let unbalanced = "has a brace without its partner; a brace that is meant is written twice";
        for text in ["{cmd", "cmd}", "{cmd{cmd}", "{"] {
            assert_eq!(refused(text), format!("{text:?} {unbalanced}"));
        }
    }
}
