//! `concat`: the rows of all inputs, one input below the other.

use std::sync::Arc;

use super::Site;
use crate::batch::{Batch, Column, MAX_ROWS, Schema};
use crate::failure::NodeFailure;
use crate::json::Fault;
use crate::problem::Problem;

#[derive(Debug)]
pub(crate) struct Concat {
    /// For each input, where it has each column of the first; the order of columns may differ.
    places: Vec<Vec<usize>>,
}

impl Concat {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&[])?;
        site.input_count("concat", "at least two inputs", site.inputs.len() >= 2)?;
        let (first, expected) = site.inputs[0];
        let inputs = site.at.required("inputs", "an array of names")?.elements()?;
        let place = |((node, found), at): (&(&str, &Schema), _)| {
            places(expected, found).ok_or_else(|| {
                crate::json::At::fault(
                    at,
                    Problem::DifferentColumns {
                        first: first.into(),
                        expected: expected.clone(),
                        node: (*node).into(),
                        found: (*found).clone(),
                    },
                )
            })
        };
        let places = site.inputs.iter().zip(&inputs).map(place).collect::<Result<_, _>>()?;
        Ok((Self { places }, expected.clone()))
    }

    pub(super) fn run<'a>(
        &self,
        inputs: impl Iterator<Item = &'a Arc<Batch>> + Clone,
    ) -> Result<Arc<Batch>, NodeFailure> {
        let rows = inputs.clone().map(|batch| batch.rows()).sum();
        if rows > MAX_ROWS {
            return Err(NodeFailure::TooManyRows { rows });
        }
        let column = |at: usize| {
            let places = self.places.iter();
            Column::concat(inputs.clone().zip(places).map(|(batch, place)| &*batch.columns()[place[at]]))
        };
        let columns = (0..self.places[0].len()).filter_map(column).map(Arc::new).collect();
        Ok(Arc::new(Batch::new(columns, rows)))
    }
}

/// Where each expected column is; none when the columns are not the same.
fn places(expected: &Schema, found: &Schema) -> Option<Vec<usize>> {
    if expected.columns().len() != found.columns().len() {
        return None;
    }
    let place = |(name, kind)| found.find(name).filter(|(_, other)| *other == kind).map(|(at, _)| at);
    expected.columns().map(place).collect()
}
