//! `redis_read`: one read for each row of its input, or a single one without input; all of them in one pipeline.
//!
//! `lrange` and `smembers` give a row for each element, `get` and `hmget` add what they find to the row they were sent
//! for. What Redis does not have is left out: the row is not handed on.

use std::sync::Arc;

use super::template::Template;
use super::{Context, Site};
use crate::batch::{Batch, Column, MAX_ROWS, Schema, Type};
use crate::failure::NodeFailure;
use crate::json::{At, Fault};
use crate::resp::{Connection, Pipeline, Reply};

#[derive(Debug)]
pub(crate) struct RedisRead {
    command: Command,
    key: Template,
    /// Columns of the input that are handed on.
    kept: Vec<usize>,
    /// Types of the columns that are added.
    added: Vec<Type>,
    /// What to ask for: the words behind the key.
    words: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Get,
    Hmget,
    Lrange,
    Smembers,
}

const COMMANDS: [(&str, Command); 4] = [
    ("get", Command::Get),
    ("hmget", Command::Hmget),
    ("lrange", Command::Lrange),
    ("smembers", Command::Smembers),
];

impl Command {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Get => b"GET",
            Self::Hmget => b"HMGET",
            Self::Lrange => b"LRANGE",
            Self::Smembers => b"SMEMBERS",
        }
    }
}

impl RedisRead {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        let at = site.at;
        let command =
            at.required("command", "get, hmget, lrange or smembers")?.one_of("command", &COMMANDS)?;
        site.only(match command {
            Command::Get | Command::Smembers => &["command", "key", "keep", "column", "type"],
            Command::Hmget => &["command", "key", "keep", "fields"],
            Command::Lrange => &["command", "key", "keep", "column", "type", "limit"],
        })?;
        let input = site.input_or_none("redis_read")?;
        let key = Template::read(&at.required("key", "a template")?, &input, site.parameters)?;
        let mut schema = Schema::default();
        let kept = kept(at, &input, &mut schema)?;
        let mut added = Vec::new();
        let mut words = Vec::new();
        if command == Command::Hmget {
            for field in at.required("fields", "an array of [field, type]")?.elements()? {
                let [name, kind] = &field.elements()?[..] else {
                    return Err(field.wrong_type("an array of field and type"));
                };
                let column = super::new_column(name, &schema)?;
                words.push(column.clone().into_bytes());
                added.push(kind.one_of("type", &Type::NAMES)?);
                schema.push(column, added[added.len() - 1]);
            }
            if words.is_empty() {
                let fields = at.required("fields", "an array of [field, type]")?;
                return Err(fields.wrong_type("an array of at least one [field, type]"));
            }
        } else {
            let column = super::new_column(&at.required("column", "a name for what is read")?, &schema)?;
            let kind = at.required("type", "float, int or text")?.one_of("type", &Type::NAMES)?;
            added.push(kind);
            schema.push(column, kind);
        }
        if command == Command::Lrange {
            let limit = at.optional("limit")?.map(|at| at.count(1, MAX_ROWS as u64)).transpose()?;
            let last = limit.map_or_else(|| "-1".into(), |limit| (limit - 1).to_string());
            words.extend([b"0".to_vec(), last.into_bytes()]);
        }
        Ok((Self { command, key, kept, added, words }, schema))
    }

    pub(super) fn run(
        &self,
        input: Option<&Batch>,
        context: &mut Context<'_>,
    ) -> Result<Arc<Batch>, NodeFailure> {
        let rows = input.map_or(1, Batch::rows);
        let mut pipeline = Pipeline::default();
        let mut key = Vec::new();
        for row in 0..rows {
            self.key.fill(input, row, context.request, &mut key);
            let command = [self.command.word(), &key];
            let words = self.words.iter().map(Vec::as_slice);
            pipeline.push(command.into_iter().chain(words));
        }
        let replies = if rows == 0 { Vec::new() } else { exchange(&pipeline, context)? };
        let mut found = Found::new(&self.added, &context.redis.address);
        for (row, reply) in replies.into_iter().enumerate() {
            found.take(row, reply)?;
        }
        // Without input there are no columns to keep, and the rows are those that were found.
        let mut columns: Vec<Arc<Column>> = Vec::with_capacity(self.kept.len() + self.added.len());
        if let Some(input) = input {
            columns.extend(self.kept.iter().map(|at| Arc::new(input.columns()[*at].select(&found.rows))));
        }
        columns.extend(found.columns.into_iter().map(Arc::new));
        Ok(Arc::new(Batch::new(columns, found.rows.len())))
    }
}

/// Which columns of the input stay; all, where the plan does not say.
fn kept(at: &At<'_>, input: &Schema, schema: &mut Schema) -> Result<Vec<usize>, Fault> {
    let Some(keep) = at.optional("keep")? else {
        *schema = input.clone();
        return Ok((0..input.columns().len()).collect());
    };
    let mut kept = Vec::new();
    for at in keep.elements()? {
        let (place, kind) = super::column(&at, input)?;
        schema.push(super::new_column(&at, schema)?, kind);
        kept.push(place);
    }
    Ok(kept)
}

/// Sends a pipeline over the connection that is there, or a new one; keeps it when all went well.
fn exchange(pipeline: &Pipeline, context: &mut Context<'_>) -> Result<Vec<Reply>, NodeFailure> {
    let mut connection = match context.connection.take() {
        Some(connection) => connection,
        None => Connection::open(context.redis)?,
    };
    let replies = connection.run(pipeline)?;
    *context.connection = Some(connection);
    Ok(replies)
}

/// What was found, for which rows of the input.
struct Found<'a> {
    rows: Vec<usize>,
    columns: Vec<Column>,
    types: &'a [Type],
    address: &'a str,
}

impl<'a> Found<'a> {
    fn new(types: &'a [Type], address: &'a str) -> Self {
        let columns = types.iter().map(|kind| Column::new(*kind)).collect();
        Self { rows: Vec::new(), columns, types, address }
    }

    fn take(&mut self, row: usize, reply: Reply) -> Result<(), NodeFailure> {
        match reply {
            Reply::Array(values) if self.types.len() == 1 => {
                values.into_iter().flatten().try_for_each(|value| self.push(row, &[value]))
            }
            Reply::Array(values) => match values.into_iter().collect::<Option<Vec<_>>>() {
                Some(values) if values.len() == self.types.len() => self.push(row, &values),
                Some(values) => {
                    Err(self.data(format!("{} values for {} fields", values.len(), self.types.len())))
                }
                None => Ok(()),
            },
            Reply::Bulk(value) => self.push(row, &[value]),
            Reply::Error(message) => Err(NodeFailure::RedisRefused { address: self.address.into(), message }),
            Reply::Int(number) => Err(self.data(format!("the number {number} for a read"))),
            Reply::Nil => Ok(()),
            Reply::Simple(text) => Err(self.data(format!("the answer {text:?} for a read"))),
        }
    }

    fn push(&mut self, row: usize, values: &[Vec<u8>]) -> Result<(), NodeFailure> {
        for (at, value) in values.iter().enumerate() {
            let kind = self.types[at];
            if !push(&mut self.columns[at], value) {
                return Err(
                    self.data(format!("{:?} where {kind} is expected", String::from_utf8_lossy(value)))
                );
            }
        }
        self.rows.push(row);
        if self.rows.len() > MAX_ROWS {
            return Err(NodeFailure::TooManyRows { rows: self.rows.len() });
        }
        Ok(())
    }

    fn data(&self, what: String) -> NodeFailure {
        NodeFailure::RedisData { address: self.address.into(), what }
    }
}

/// Adds a value of Redis; false when it is not of the column's type.
fn push(column: &mut Column, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    match column {
        Column::Float(values) => match text.parse() {
            Ok(value) => values.push(value),
            Err(_) => return false,
        },
        Column::Int(values) => match text.parse() {
            Ok(value) => values.push(value),
            Err(_) => return false,
        },
        Column::Text(texts) => texts.push(text),
    }
    true
}
