//! What a node can do: each operation reads its own keys from the plan, once, and runs on batches, often.

mod concat;
mod redis_read;
mod regex_filter;
mod score;
mod sleep;
mod source;
mod spin;
mod take;
mod template;

use std::sync::Arc;

use crate::batch::{Batch, Schema};
use crate::failure::NodeFailure;
use crate::json::{At, Fault};
use crate::problem::Problem;
use crate::request::{Parameter, Request};
use crate::resp::{Connection, RedisOptions};

/// Keys that every node has.
const COMMON: [&str; 2] = ["op", "inputs"];

/// Every operation with the name that plan files use.
pub(crate) const NAMES: [(&str, Kind); 8] = [
    ("concat", Kind::Concat),
    ("redis_read", Kind::RedisRead),
    ("regex_filter", Kind::RegexFilter),
    ("score", Kind::Score),
    ("sleep", Kind::Sleep),
    ("source", Kind::Source),
    ("spin", Kind::Spin),
    ("take", Kind::Take),
];

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Concat,
    RedisRead,
    RegexFilter,
    Score,
    Sleep,
    Source,
    Spin,
    Take,
}

/// Where a node runs, and whether it is worth another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Calculates for long enough that another processor can help.
    Cpu,
    /// Waits for something outside.
    Io,
    /// Calculates, for less time than handing it to another thread takes.
    Light,
}

/// What an operation is made of.
pub(crate) struct Site<'a> {
    /// The node in the plan file.
    pub(crate) at: &'a At<'a>,
    /// Name and columns of each input.
    pub(crate) inputs: &'a [(&'a str, &'a Schema)],
    pub(crate) parameters: &'a [Parameter],
}

impl Site<'_> {
    /// That the node has no other keys than these and the common ones.
    fn only(&self, keys: &[&str]) -> Result<(), Fault> {
        self.at.only(&[&COMMON[..], keys].concat())
    }

    fn input_count(&self, op: &'static str, expected: &'static str, fits: bool) -> Result<(), Fault> {
        if fits {
            return Ok(());
        }
        let at = self.at.optional("inputs")?.unwrap_or_else(|| self.at.clone());
        Err(at.fault(Problem::InputCount { op, expected, found: self.inputs.len() }))
    }

    /// The columns of the one input that there must be.
    fn one_input(&self, op: &'static str) -> Result<&Schema, Fault> {
        self.input_count(op, "exactly one input", self.inputs.len() == 1)?;
        Ok(self.inputs[0].1)
    }

    /// The columns of the one input that there may be.
    fn input_or_none(&self, op: &'static str) -> Result<Schema, Fault> {
        self.input_count(op, "one input or none", self.inputs.len() <= 1)?;
        Ok(self.inputs.first().map(|(_, schema)| (*schema).clone()).unwrap_or_default())
    }
}

/// A column named in a plan: where it is, and its type.
fn column(at: &At<'_>, schema: &Schema) -> Result<(usize, crate::batch::Type), Fault> {
    let name = at.text()?;
    let unknown = || at.fault(Problem::unknown("column", name, schema.columns().map(|(name, _)| name)));
    schema.find(name).ok_or_else(unknown)
}

/// A column that one can calculate with.
fn number_column(at: &At<'_>, schema: &Schema) -> Result<usize, Fault> {
    let (index, kind) = column(at, schema)?;
    if !kind.is_number() {
        let name = at.text()?.to_owned();
        return Err(at.fault(Problem::OfType { name, found: kind, expected: "int or float" }));
    }
    Ok(index)
}

/// A name for a column that the schema does not have yet.
fn new_column(at: &At<'_>, schema: &Schema) -> Result<String, Fault> {
    let name = crate::names::read(at)?;
    if schema.find(&name).is_some() {
        return Err(at.fault(Problem::ColumnTaken { name }));
    }
    Ok(name)
}

/// Rows of the nodes that ran already.
pub(crate) trait Slots {
    /// The rows of a node; the node must have run.
    fn batch(&self, node: usize) -> &Arc<Batch>;
}

/// What a call gives to its nodes.
pub(crate) struct Context<'a> {
    pub(crate) request: &'a Request,
    pub(crate) redis: &'a RedisOptions,
    /// Kept from one read to the next; none before the first, and after an error.
    pub(crate) connection: &'a mut Option<Connection>,
}

/// An operation, ready to run.
#[derive(Debug)]
pub(crate) enum Op {
    Concat(concat::Concat),
    RedisRead(redis_read::RedisRead),
    RegexFilter(regex_filter::RegexFilter),
    Score(score::Score),
    Sleep(sleep::Sleep),
    Source(source::Source),
    Spin(spin::Spin),
    Take(take::Take),
}

impl Op {
    /// Reads an operation of a plan, and says which columns it gives.
    pub(crate) fn read(kind: Kind, site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        Ok(match kind {
            Kind::Concat => {
                let (op, schema) = concat::Concat::read(site)?;
                (Self::Concat(op), schema)
            }
            Kind::RedisRead => {
                let (op, schema) = redis_read::RedisRead::read(site)?;
                (Self::RedisRead(op), schema)
            }
            Kind::RegexFilter => {
                let (op, schema) = regex_filter::RegexFilter::read(site)?;
                (Self::RegexFilter(op), schema)
            }
            Kind::Score => {
                let (op, schema) = score::Score::read(site)?;
                (Self::Score(op), schema)
            }
            Kind::Sleep => {
                let (op, schema) = sleep::Sleep::read(site)?;
                (Self::Sleep(op), schema)
            }
            Kind::Source => {
                let (op, schema) = source::Source::read(site)?;
                (Self::Source(op), schema)
            }
            Kind::Spin => {
                let (op, schema) = spin::Spin::read(site)?;
                (Self::Spin(op), schema)
            }
            Kind::Take => {
                let (op, schema) = take::Take::read(site)?;
                (Self::Take(op), schema)
            }
        })
    }

    pub(crate) fn lane(&self) -> Lane {
        match self {
            Self::Concat(_) | Self::Score(_) | Self::Source(_) | Self::Take(_) => Lane::Light,
            Self::RedisRead(_) | Self::Sleep(_) => Lane::Io,
            Self::RegexFilter(_) | Self::Spin(_) => Lane::Cpu,
        }
    }

    pub(crate) fn run(
        &self,
        inputs: &[usize],
        slots: &impl Slots,
        context: &mut Context<'_>,
    ) -> Result<Arc<Batch>, NodeFailure> {
        // The reading of each operation made sure of the number of its inputs.
        let input = || slots.batch(inputs[0]);
        let passed = || inputs.first().map_or_else(Arc::default, |input| Arc::clone(slots.batch(*input)));
        match self {
            Self::Concat(op) => op.run(inputs.iter().map(|input| slots.batch(*input))),
            Self::RedisRead(op) => op.run(inputs.first().map(|input| &**slots.batch(*input)), context),
            Self::RegexFilter(op) => Ok(op.run(input())),
            Self::Score(op) => Ok(op.run(input())),
            Self::Sleep(op) => {
                op.run();
                Ok(passed())
            }
            Self::Source(op) => Ok(op.run(context.request)),
            Self::Spin(op) => {
                op.run();
                Ok(passed())
            }
            Self::Take(op) => Ok(op.run(input())),
        }
    }
}
