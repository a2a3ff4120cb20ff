//! What a caller gives to a plan: values for its parameters.

use serde_json::Value;

use crate::batch::{Scalar, Type};
use crate::json::{At, Fault, describe};
use crate::names;
use crate::problem::nearest;

/// A value that a plan wants from its caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As the request names it.
    pub name: String,
    /// What it is.
    pub kind: Type,
    /// What it is when the request does not say; none when the request must.
    pub default: Option<Scalar>,
}

/// A value for each parameter of a plan, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    values: Box<[Scalar]>,
}

impl Request {
    pub(crate) fn value(&self, parameter: usize) -> &Scalar {
        &self.values[parameter]
    }
}

/// A request that does not fit the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A parameter without a default is not given.
    #[error("the request must say {name:?}, {kind}")]
    Missing {
        /// The parameter.
        name: String,
        /// Its type.
        kind: Type,
    },
    /// The text is no JSON.
    #[error("the request is not JSON: {why}")]
    NotJson {
        /// What the parser says.
        why: String,
    },
    /// Something other than an object.
    #[error("the request must be an object such as {{\"user_id\": 1}}, not {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// The plan has no such parameter.
    #[error("the plan has no parameter {name:?}{hint}")]
    Unknown {
        /// What the request says.
        name: String,
        /// What was probably meant.
        hint: String,
    },
    /// A value of the wrong type.
    #[error("{name:?} must be of type {kind}, not {found}")]
    WrongType {
        /// The parameter.
        name: String,
        /// Its type.
        kind: Type,
        /// What the request has.
        found: &'static str,
    },
}

/// Fits values to parameters.
pub(crate) fn fit(parameters: &[Parameter], request: &Value) -> Result<Request, RequestError> {
    let Value::Object(given) = request else {
        return Err(RequestError::NotAnObject { found: describe(request) });
    };
    if let Some(name) = given.keys().find(|name| parameters.iter().all(|one| one.name != **name)) {
        let known: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let hint = match nearest(name, &known) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None if known.is_empty() => "; it has none".into(),
            None => format!("; it has {}", known.join(", ")),
        };
        return Err(RequestError::Unknown { name: name.clone(), hint });
    }
    let value = |parameter: &Parameter| {
        let (name, kind) = (parameter.name.clone(), parameter.kind);
        match (given.get(&name), &parameter.default) {
            (Some(value), _) => Scalar::of_json(value, kind).ok_or_else(|| RequestError::WrongType {
                name,
                kind,
                found: describe(value),
            }),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(RequestError::Missing { name, kind }),
        }
    };
    Ok(Request { values: parameters.iter().map(value).collect::<Result<_, _>>()? })
}

/// Reads the parameters that a plan declares.
pub(crate) fn read_parameters(at: &At<'_>) -> Result<Vec<Parameter>, Fault> {
    let read = |(name, at): (&str, At<'_>)| {
        names::check(name, &at)?;
        at.only(&["type", "default"])?;
        let kind = at.required("type", "float, int or text")?.one_of("type", &Type::NAMES)?;
        let default = match at.optional("default")? {
            None => None,
            Some(at) => Some(names::scalar(&at, kind)?),
        };
        Ok(Parameter { name: name.into(), kind, default })
    };
    at.members()?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameters() -> Vec<Parameter> {
        vec![
            Parameter { name: "limit".into(), kind: Type::Float, default: Some(Scalar::Float(0.5)) },
            Parameter { name: "user_id".into(), kind: Type::Int, default: None },
        ]
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let request = fit(&parameters(), &json!({"user_id": 7})).unwrap();
        assert_eq!(*request.value(0), Scalar::Float(0.5));
        assert_eq!(*request.value(1), Scalar::Int(7));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let told = |request| fit(&parameters(), &request).unwrap_err().to_string();
        assert_eq!(told(json!({})), "the request must say \"user_id\", int");
        assert_eq!(told(json!({"user_id": "1"})), "\"user_id\" must be of type int, not a text");
        assert_eq!(
            told(json!({"user_id": 1.5})),
            "\"user_id\" must be of type int, not a number with a fraction"
        );
        assert_eq!(
            told(json!({"userid": 1})),
            "the plan has no parameter \"userid\"; did you mean \"user_id\"?"
        );
        assert_eq!(told(json!({"colour": 1})), "the plan has no parameter \"colour\"; it has limit, user_id");
        assert_eq!(told(json!([1])), "the request must be an object such as {\"user_id\": 1}, not an array");
    }
}
