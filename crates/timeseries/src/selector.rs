//! Which series: `name`, `name{key=value,…}` or `{key=value}`, and `{}` for all.

use std::fmt;
use std::str::FromStr;

use crate::key::{SeriesKey, check_name, write_labels};

/// A filter over series: a name, if any, and labels that must have exactly these values.
///
/// In text a value is `"…"` with `\"`, `\\` and `\n`, or bare up to the next `,` or `}`. An empty value also matches
/// a series without the label, as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    name: Option<String>,
    labels: Vec<(String, String)>,
}

impl Selector {
    /// The selector that every series matches, `{}`.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether a series is meant.
    #[must_use]
    pub fn matches(&self, key: &SeriesKey) -> bool {
        let named = self.name.as_deref().is_none_or(|name| name == key.name());
        named && self.labels.iter().all(|(label, value)| key.label(label).unwrap_or_default() == value)
    }

    /// The name asked for.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        if self.name.is_none() && self.labels.is_empty() {
            return f.write_str("{}");
        }
        write_labels(f, self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl From<&SeriesKey> for Selector {
    fn from(key: &SeriesKey) -> Self {
        let labels = key.labels().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        Self { name: Some(key.name().to_owned()), labels }
    }
}

/// Where and why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the selector {text:?} at byte {at}: {why}; write name{{key=\"value\"}}")]
pub struct SelectorError {
    text: String,
    at: usize,
    why: String,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        let selector = parser.selector()?;
        parser.skip_space();
        if parser.rest().is_empty() { Ok(selector) } else { Err(parser.error("there is more after the end")) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<Selector, SelectorError> {
        self.skip_space();
        let start = self.at;
        let name = self.word();
        let name = if name.is_empty() {
            None
        } else {
            check_name(name, true)
                .map_err(|why| Self { text: self.text, at: start }.error(&why.to_string()))?;
            Some(name.to_owned())
        };
        self.skip_space();
        let mut labels = Vec::new();
        if self.eat('{') {
            loop {
                self.skip_space();
                if self.eat('}') {
                    break;
                }
                labels.push(self.label()?);
                self.skip_space();
                if !self.eat(',') && !self.rest().starts_with('}') {
                    return Err(self.error("a comma or } is missing"));
                }
            }
        } else if name.is_none() {
            return Err(self.error("a name or { is missing"));
        }
        labels.sort();
        if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(self.error(&format!("label {:?} is given twice", twice[0].0)));
        }
        Ok(Selector { name, labels })
    }

    fn label(&mut self) -> Result<(String, String), SelectorError> {
        let key = self.word();
        if let Err(why) = check_name(key, false) {
            return Err(self.error(&why.to_string()));
        }
        let key = key.to_owned();
        self.skip_space();
        if !self.eat('=') {
            return Err(self.error("= is missing after the label"));
        }
        self.skip_space();
        let value = if self.eat('"') { self.quoted()? } else { self.bare()? };
        Ok((key, value))
    }

    fn quoted(&mut self) -> Result<String, SelectorError> {
        let mut value = String::new();
        loop {
            match self.next() {
                None => return Err(self.error("the closing quote is missing")),
                Some('"') => return Ok(value),
                Some('\\') => match self.next() {
                    Some('n') => value.push('\n'),
                    Some(c @ ('"' | '\\')) => value.push(c),
                    _ => return Err(self.error("a backslash is followed by \", \\ or n")),
                },
                Some(c) => value.push(c),
            }
        }
    }

    fn bare(&mut self) -> Result<String, SelectorError> {
        let end = self.rest().find([',', '}']).ok_or_else(|| self.error("} is missing"))?;
        let value = self.rest()[..end].trim_end();
        if value.contains(['"', '{', '=']) {
            return Err(self.error("a value with quotes, { or = must be quoted"));
        }
        self.at += end;
        Ok(value.to_owned())
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn error(&self, why: &str) -> SelectorError {
        SelectorError { text: self.text.to_owned(), at: self.at, why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names_labels_and_quotes() {
        let selector: Selector = r#" disk{ path = "a\"b\\c\nd,}" , op=read } "#.parse().unwrap();
        assert_eq!(selector.to_string(), "disk{op=\"read\",path=\"a\\\"b\\\\c\\nd,}\"}");
        let key = SeriesKey::new("disk").unwrap().with("op", "read").unwrap();
        assert!(!selector.matches(&key));
        assert!(selector.matches(&key.with("path", "a\"b\\c\nd,}").unwrap().with("more", "x").unwrap()));
    }

    #[test]
    fn an_empty_value_is_an_absent_label() {
        let selector: Selector = "{op=}".parse().unwrap();
        assert!(selector.matches(&SeriesKey::new("disk").unwrap()));
        assert!(!selector.matches(&SeriesKey::new("disk").unwrap().with("op", "read").unwrap()));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let error = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert!(error("disk{op=read").contains("at byte 8: } is missing"), "{}", error("disk{op=read"));
        assert!(error("disk{op}").contains("= is missing"));
        assert!(error("disk{op=\"read}").contains("closing quote"));
        assert!(error("disk{op=a,op=b}").contains("twice"));
        assert!(error("").contains("a name or {"));
        assert!(error("9disk").contains("not a name"));
        assert!(error("disk{} x").contains("more after the end"));
    }

    proptest! {
        #[test]
        fn a_key_selects_itself(name in "[a-z_:][a-z0-9_:]{0,8}", values in prop::collection::vec(".*", 0..4)) {
            let mut key = SeriesKey::new(name).unwrap();
            for (at, value) in values.into_iter().enumerate() {
                key = key.with(format!("l{at}"), value).unwrap();
            }
            let selector: Selector = key.to_string().parse().unwrap();
            prop_assert!(selector.matches(&key));
            prop_assert_eq!(selector, Selector::from(&key));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
            }
        }
    }
}
