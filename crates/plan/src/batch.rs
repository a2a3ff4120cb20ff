//! Rows of typed values, kept by column.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

/// No batch has more rows: a plan that doubles its rows node by node ends with an error, not with the memory.
pub const MAX_ROWS: usize = 1 << 20;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// 64-bit floating point.
    Float,
    /// 64-bit signed integers.
    Int,
    /// UTF-8.
    Text,
}

impl Type {
    /// Every type, by the name that plan files use.
    pub(crate) const NAMES: [(&str, Type); 3] =
        [("float", Self::Float), ("int", Self::Int), ("text", Self::Text)];

    /// As plan files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::Text => "text",
        }
    }

    /// Whether it can be calculated with.
    pub(crate) fn is_number(self) -> bool {
        self != Self::Text
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Names and types of a batch's columns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<(String, Type)>,
}

impl Schema {
    pub(crate) fn push(&mut self, name: impl Into<String>, kind: Type) {
        self.columns.push((name.into(), kind));
    }

    /// Name and type of each column.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, Type)> {
        self.columns.iter().map(|(name, kind)| (name.as_str(), *kind))
    }

    /// Where a column is, and its type.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, Type)> {
        let at = self.columns.iter().position(|(column, _)| column == name)?;
        Some((at, self.columns[at].1))
    }
}

/// As an error names it: `id int, title text`.
impl fmt::Display for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.columns.is_empty() {
            return formatter.write_str("no columns");
        }
        for (at, (name, kind)) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} {kind}")?;
        }
        Ok(())
    }
}

/// Texts one after the other in one allocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    all: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { all: String::with_capacity(bytes), ends: Vec::with_capacity(rows) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them; panics when there are not so many.
    pub fn at(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.all[start..self.ends[row]]
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|row| self.at(row))
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.all.push_str(text);
        self.ends.push(self.all.len());
    }

    fn append(&mut self, other: &Self) {
        let start = self.all.len();
        self.all.push_str(&other.all);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Of type float.
    Float(Vec<f64>),
    /// Of type int.
    Int(Vec<i64>),
    /// Of type text.
    Text(Texts),
}

impl Column {
    pub(crate) fn new(kind: Type) -> Self {
        match kind {
            Type::Float => Self::Float(Vec::new()),
            Type::Int => Self::Int(Vec::new()),
            Type::Text => Self::Text(Texts::default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// The number in a row; none in a column of texts.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Float(values) => Some(values[row]),
            Self::Int(values) => Some(values[row] as f64),
            Self::Text(_) => None,
        }
    }

    /// Appends a value as text to a key.
    pub(crate) fn write_to(&self, row: usize, text: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a vector cannot fail.
        let _ = match self {
            Self::Float(values) => write!(text, "{}", values[row]),
            Self::Int(values) => write!(text, "{}", values[row]),
            Self::Text(values) => text.write_all(values.at(row).as_bytes()),
        };
    }

    /// Adds a value; false when it is of another type.
    pub(crate) fn push(&mut self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::Float(values), Scalar::Float(value)) => values.push(*value),
            (Self::Int(values), Scalar::Int(value)) => values.push(*value),
            (Self::Text(values), Scalar::Text(value)) => values.push(value),
            _ => return false,
        }
        true
    }

    /// The columns of these, one below the other; all are of one type.
    pub(crate) fn concat<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        let rows = parts.clone().map(Self::len).sum();
        Some(match parts.clone().next()? {
            Self::Float(_) => {
                let mut all = Vec::with_capacity(rows);
                parts.for_each(|part| {
                    if let Self::Float(values) = part {
                        all.extend_from_slice(values)
                    }
                });
                Self::Float(all)
            }
            Self::Int(_) => {
                let mut all = Vec::with_capacity(rows);
                parts.for_each(|part| {
                    if let Self::Int(values) = part {
                        all.extend_from_slice(values)
                    }
                });
                Self::Int(all)
            }
            Self::Text(_) => {
                let texts =
                    parts.filter_map(|part| if let Self::Text(texts) = part { Some(texts) } else { None });
                let mut all = Texts::with_capacity(rows, texts.clone().map(|texts| texts.all.len()).sum());
                texts.for_each(|texts| all.append(texts));
                Self::Text(all)
            }
        })
    }

    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Float(values) => Self::Float(rows.iter().map(|row| values[*row]).collect()),
            Self::Int(values) => Self::Int(rows.iter().map(|row| values[*row]).collect()),
            Self::Text(values) => {
                let bytes = rows.iter().map(|row| values.at(*row).len()).sum();
                let mut selected = Texts::with_capacity(rows.len(), bytes);
                rows.iter().for_each(|row| selected.push(values.at(*row)));
                Self::Text(selected)
            }
        }
    }

    fn first(&self, rows: usize) -> Self {
        match self {
            Self::Float(values) => Self::Float(values[..rows].to_vec()),
            Self::Int(values) => Self::Int(values[..rows].to_vec()),
            Self::Text(values) => {
                let ends = values.ends[..rows].to_vec();
                let bytes = ends.last().copied().unwrap_or(0);
                Self::Text(Texts { all: values.all[..bytes].to_owned(), ends })
            }
        }
    }

    fn json(&self, row: usize) -> Value {
        match self {
            // JSON has no number for what is not finite.
            Self::Float(values) => Number::from_f64(values[row]).map_or(Value::Null, Value::Number),
            Self::Int(values) => values[row].into(),
            Self::Text(values) => values.at(row).into(),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Of type float.
    Float(f64),
    /// Of type int.
    Int(i64),
    /// Of type text.
    Text(String),
}

impl Scalar {
    /// A value of JSON as one of this type; integers are floats too, floats are not integers.
    pub(crate) fn of_json(value: &Value, kind: Type) -> Option<Self> {
        match kind {
            Type::Float => value.as_f64().map(Self::Float),
            Type::Int => value.as_i64().map(Self::Int),
            Type::Text => value.as_str().map(|text| Self::Text(text.into())),
        }
    }

    /// Appends it as text to a key.
    pub(crate) fn write_to(&self, text: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a vector cannot fail.
        let _ = match self {
            Self::Float(value) => write!(text, "{value}"),
            Self::Int(value) => write!(text, "{value}"),
            Self::Text(value) => text.write_all(value.as_bytes()),
        };
    }
}

/// Rows that one node hands to the next. Columns are shared, not copied, where they stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    columns: Vec<Arc<Column>>,
    rows: usize,
}

impl Batch {
    /// All columns must have as many values as there are rows.
    pub(crate) fn new(columns: Vec<Arc<Column>>, rows: usize) -> Self {
        debug_assert!(columns.iter().all(|column| column.len() == rows), "columns differ in length");
        Self { columns, rows }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its columns, in the order of the schema.
    pub fn columns(&self) -> &[Arc<Column>] {
        &self.columns
    }

    pub(crate) fn with(&self, column: Column) -> Self {
        let mut columns = Vec::with_capacity(self.columns.len() + 1);
        columns.extend(self.columns.iter().cloned());
        columns.push(Arc::new(column));
        Self::new(columns, self.rows)
    }

    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| Arc::new(column.select(rows))).collect();
        Self::new(columns, rows.len())
    }

    /// The first rows, as many as there are.
    pub(crate) fn first(&self, rows: usize) -> Self {
        let rows = rows.min(self.rows);
        let columns = self.columns.iter().map(|column| Arc::new(column.first(rows))).collect();
        Self::new(columns, rows)
    }

    /// One object for each row.
    pub fn to_json(&self, schema: &Schema) -> Vec<Value> {
        let object = |row| {
            let fields = schema.columns().zip(&self.columns);
            Value::Object(Map::from_iter(
                fields.map(|((name, _), column)| (name.to_owned(), column.json(row))),
            ))
        };
        (0..self.rows).map(object).collect()
    }
}
