//! Keys with values in them: `user:{user_id}:follows`.

use crate::batch::{Batch, Schema};
use crate::json::{At, Fault};
use crate::problem::Problem;
use crate::request::{Parameter, Request};

/// A template, taken apart.
#[derive(Debug, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Column(usize),
    Literal(String),
    Parameter(usize),
}

impl Template {
    /// Names are those of columns first, then those of parameters.
    pub(super) fn read(at: &At<'_>, schema: &Schema, parameters: &[Parameter]) -> Result<Self, Fault> {
        let template = at.text()?;
        let bad = |why| at.fault(Problem::BadTemplate { template: template.into(), why });
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = template;
        while let Some(brace) = rest.find(['{', '}']) {
            literal.push_str(&rest[..brace]);
            let (this, behind) = rest[brace..].split_at(1);
            if behind.starts_with(this) {
                literal.push_str(this);
                rest = &behind[1..];
                continue;
            }
            if this == "}" {
                return Err(bad("a closing brace has no opening one"));
            }
            let (name, behind) =
                behind.split_once('}').ok_or_else(|| bad("an opening brace is not closed"))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part(name, schema, parameters).ok_or_else(|| {
                let columns = schema.columns().map(|(name, _)| name);
                let known = columns.chain(parameters.iter().map(|parameter| parameter.name.as_str()));
                at.fault(Problem::unknown("column or parameter", name, known))
            })?);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The key for a row, in place of what `key` held.
    pub(super) fn fill(&self, input: Option<&Batch>, row: usize, request: &Request, key: &mut Vec<u8>) {
        key.clear();
        for part in &self.parts {
            match part {
                Part::Column(at) => {
                    input.into_iter().for_each(|batch| batch.columns()[*at].write_to(row, key))
                }
                Part::Literal(text) => key.extend_from_slice(text.as_bytes()),
                Part::Parameter(at) => request.value(*at).write_to(key),
            }
        }
    }
}

fn part(name: &str, schema: &Schema, parameters: &[Parameter]) -> Option<Part> {
    let column = schema.find(name).map(|(at, _)| Part::Column(at));
    column.or_else(|| {
        let at = parameters.iter().position(|parameter| parameter.name == name)?;
        Some(Part::Parameter(at))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::Type;
    use crate::request::fit;

    fn parameters() -> Vec<Parameter> {
        vec![Parameter { name: "user_id".into(), kind: Type::Int, default: None }]
    }

    fn filled(template: &str) -> Result<String, String> {
        let value = json!(template);
        let template = Template::read(&At::root(&value), &Schema::default(), &parameters())
            .map_err(|fault| fault.problem.to_string())?;
        let mut key = b"old".to_vec();
        template.fill(None, 0, &fit(&parameters(), &json!({"user_id": 7})).unwrap(), &mut key);
        Ok(String::from_utf8(key).unwrap())
    }

    #[test]
    fn names_are_filled_in() {
        assert_eq!(filled("user:{user_id}:follows").unwrap(), "user:7:follows");
        assert_eq!(filled("{{x}}{user_id}").unwrap(), "{x}7");
        assert_eq!(filled("").unwrap(), "");
    }

    #[test]
    fn braces_must_match() {
        assert!(filled("a{user_id").unwrap_err().contains("is not closed"));
        assert!(filled("a}b").unwrap_err().contains("has no opening one"));
        assert!(filled("{userid}").unwrap_err().contains("did you mean \"user_id\"?"));
    }
}
