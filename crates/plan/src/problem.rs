//! What is wrong with a plan, and where.

use std::fmt;
use std::path::PathBuf;

use crate::batch::{Schema, Type};

/// A place in a plan file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the plan came from; none when it was given as text.
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// JSON pointer (RFC 6901) of the value; none where the text is not JSON.
    pub pointer: Option<String>,
}

/// As compilers print it: `plan.json:3:14: /nodes/a/count`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(formatter, "{}:{}:{}", file.display(), self.line, self.column)?,
            None => write!(formatter, "line {}, column {}", self.line, self.column)?,
        }
        match self.pointer.as_deref() {
            None => Ok(()),
            Some("") => write!(formatter, ": the plan"),
            Some(pointer) => write!(formatter, ": {pointer}"),
        }
    }
}

/// A plan that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PlanError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Box<Problem>,
}

/// What can be wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A regular expression is not one, or is too large.
    #[error("the pattern cannot be used: {why}")]
    BadPattern {
        /// What the regular expression engine says.
        why: String,
    },
    /// A template of a key has an open brace, or one too many.
    #[error(
        "{template:?} is no template: {why}; write {{name}} for a column or parameter, {{{{ and }}}} for braces"
    )]
    BadTemplate {
        /// The template.
        template: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A node or column has this name already.
    #[error("there is a column {name:?} already; choose another name")]
    ColumnTaken {
        /// The name.
        name: String,
    },
    /// Nodes wait for each other.
    #[error("the nodes wait for each other: {}; take one of these inputs away", path.join(" -> "))]
    Cycle {
        /// Names, each the input of the next; the last is the first again.
        path: Vec<String>,
    },
    /// The inputs of a concat differ.
    #[error(
        "{node:?} has other columns ({found}) than {first:?} ({expected}); concat needs the same names and types"
    )]
    DifferentColumns {
        /// The first input.
        first: String,
        /// Its columns.
        expected: Schema,
        /// The other input.
        node: String,
        /// Its columns.
        found: Schema,
    },
    /// A node has too few or too many inputs.
    #[error("{op} takes {expected}, not {found}")]
    InputCount {
        /// The operation.
        op: &'static str,
        /// In words.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A key that must be there is not.
    #[error("{key:?} is missing; add it ({expected})")]
    Missing {
        /// The key.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A name is empty or has other characters.
    #[error("{name:?} is no name; use letters, digits, `_` and `-`, at most 64 of them")]
    Name {
        /// The name.
        name: String,
    },
    /// The plan has no nodes.
    #[error("there are no nodes; a plan needs at least one")]
    NoNodes,
    /// A column of the wrong type.
    #[error("column {name:?} is of type {found}; {expected} is needed here")]
    OfType {
        /// The column.
        name: String,
        /// Its type.
        found: Type,
        /// What is needed, in words.
        expected: &'static str,
    },
    /// A number outside of its range.
    #[error("{found} is out of range: {expected}")]
    OutOfRange {
        /// The number.
        found: String,
        /// The range, in words.
        expected: String,
    },
    /// A parameter of the wrong type.
    #[error("parameter {name:?} is of type {found}; {expected} is needed here")]
    ParameterType {
        /// The parameter.
        name: String,
        /// Its type.
        found: Type,
        /// What is needed.
        expected: Type,
    },
    /// The file cannot be read.
    #[error("cannot read the plan: {why}")]
    Read {
        /// What the system says.
        why: String,
    },
    /// A row with too few or too many values.
    #[error("the row has {found} values for {expected} columns")]
    RowLength {
        /// How many columns there are.
        expected: usize,
        /// How many values.
        found: usize,
    },
    /// The text is not JSON.
    #[error("this is not JSON: {why}")]
    Syntax {
        /// What the parser says.
        why: String,
    },
    /// A name that is none of those that there are.
    #[error("there is no {what} {name:?}{}", hint(suggestion, known))]
    Unknown {
        /// A node, a column, a key, ...
        what: &'static str,
        /// The name.
        name: String,
        /// One that is spelled nearly so.
        suggestion: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// A node that nothing uses.
    #[error("its rows go nowhere; make {name:?} the input of another node, or the output, or remove it")]
    Unused {
        /// The node.
        name: String,
    },
    /// A value of the wrong type.
    #[error("{expected} is expected, not {found}")]
    WrongType {
        /// What is expected, in words.
        expected: &'static str,
        /// What there is, in words.
        found: &'static str,
    },
}

impl Problem {
    /// There is no such name; says which ones there are, and which one was probably meant.
    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        Self::Unknown { what, suggestion: nearest(name, &known), name: name.into(), known }
    }

    /// Whether it is about the key of a member rather than its value.
    pub(crate) fn is_about_key(&self) -> bool {
        match self {
            Self::Name { .. } | Self::Unused { .. } | Self::Missing { .. } => true,
            Self::Unknown { what, .. } => *what == "key",
            _ => false,
        }
    }
}

/// The name that was probably meant.
pub(crate) fn nearest(name: &str, known: &[String]) -> Option<String> {
    let close = |other: &&String| strsim::damerau_levenshtein(name, other) <= 1 + name.chars().count() / 4;
    known.iter().filter(close).min_by_key(|other| strsim::damerau_levenshtein(name, other)).cloned()
}

fn hint(suggestion: &Option<String>, known: &[String]) -> String {
    match suggestion {
        Some(suggestion) => format!("; did you mean {suggestion:?}?"),
        None if known.is_empty() => "; there are none".into(),
        None => format!("; there are {}", known.join(", ")),
    }
}
