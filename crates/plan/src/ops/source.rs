//! `source`: rows that are in the plan. A value may be a parameter: `{"parameter": "user_id"}`.

use std::sync::Arc;

use super::Site;
use crate::batch::{Batch, Column, Scalar, Schema, Type};
use crate::json::{At, Fault};
use crate::names;
use crate::problem::Problem;
use crate::request::{Parameter, Request};

#[derive(Debug)]
pub(crate) struct Source {
    /// The rows when no value is a parameter, with those of the defaults otherwise.
    fixed: Arc<Batch>,
    /// Columns that must be made anew for each call, by their place.
    made: Vec<(usize, Type, Vec<Cell>)>,
}

#[derive(Clone, Debug)]
enum Cell {
    Fixed(Scalar),
    Parameter(usize),
}

impl Source {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["columns", "rows"])?;
        site.input_count("source", "no input", site.inputs.is_empty())?;
        let mut schema = Schema::default();
        for at in site.at.required("columns", "an array of [name, type]")?.elements()? {
            let [name, kind] = &at.elements()?[..] else {
                return Err(at.wrong_type("an array of name and type"));
            };
            schema.push(super::new_column(name, &schema)?, kind.one_of("type", &Type::NAMES)?);
        }
        let rows = site.at.required("rows", "an array of arrays")?.elements()?;
        let mut columns = vec![Vec::with_capacity(rows.len()); schema.columns().len()];
        for row in &rows {
            let values = row.elements()?;
            if values.len() != columns.len() {
                let (expected, found) = (columns.len(), values.len());
                return Err(row.fault(Problem::RowLength { expected, found }));
            }
            for ((value, column), (_, kind)) in values.iter().zip(&mut columns).zip(schema.columns()) {
                column.push(cell(value, kind, site.parameters)?);
            }
        }
        let mut fixed = Vec::new();
        let mut made = Vec::new();
        for (at, (cells, (_, kind))) in columns.into_iter().zip(schema.columns()).enumerate() {
            let mut column = Column::new(kind);
            let all_fixed = cells.iter().all(|cell| match cell {
                Cell::Fixed(value) => column.push(value),
                Cell::Parameter(_) => false,
            });
            if all_fixed {
                fixed.push(Arc::new(column));
            } else {
                // A place for what each call makes.
                fixed.push(Arc::new(blank(kind, cells.len())));
                made.push((at, kind, cells));
            }
        }
        let fixed = Arc::new(Batch::new(fixed, rows.len()));
        Ok((Self { fixed, made }, schema))
    }

    pub(super) fn run(&self, request: &Request) -> Arc<Batch> {
        if self.made.is_empty() {
            return Arc::clone(&self.fixed);
        }
        let mut columns = self.fixed.columns().to_vec();
        for (at, kind, cells) in &self.made {
            let mut column = Column::new(*kind);
            for cell in cells {
                let fits = column.push(match cell {
                    Cell::Fixed(value) => value,
                    Cell::Parameter(parameter) => request.value(*parameter),
                });
                debug_assert!(fits, "the types were compared when the plan was read");
            }
            columns[*at] = Arc::new(column);
        }
        Arc::new(Batch::new(columns, self.fixed.rows()))
    }
}

fn cell(at: &At<'_>, kind: Type, parameters: &[Parameter]) -> Result<Cell, Fault> {
    if !at.value.is_object() {
        return Ok(Cell::Fixed(names::scalar(at, kind)?));
    }
    at.only(&["parameter"])?;
    let at = at.required("parameter", "the name of a parameter")?;
    let name = at.text()?;
    let Some(index) = parameters.iter().position(|parameter| parameter.name == name) else {
        let known = parameters.iter().map(|parameter| parameter.name.as_str());
        return Err(at.fault(Problem::unknown("parameter", name, known)));
    };
    let found = parameters[index].kind;
    if found != kind {
        return Err(at.fault(Problem::ParameterType { name: name.into(), found, expected: kind }));
    }
    Ok(Cell::Parameter(index))
}

fn blank(kind: Type, rows: usize) -> Column {
    let value = match kind {
        Type::Float => Scalar::Float(0.0),
        Type::Int => Scalar::Int(0),
        Type::Text => Scalar::Text(String::new()),
    };
    let mut column = Column::new(kind);
    (0..rows).for_each(|_| {
        column.push(&value);
    });
    column
}
