//! `score`: a new column, the weighted sum of others.

use std::sync::Arc;

use super::Site;
use crate::batch::{Batch, Column, Schema, Type};
use crate::json::Fault;

#[derive(Debug)]
pub(crate) struct Score {
    weights: Vec<(usize, f64)>,
    bias: f64,
}

impl Score {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["weights", "bias", "column"])?;
        let mut schema = site.one_input("score")?.clone();
        let mut weights = Vec::new();
        for (name, weight) in site.at.required("weights", "an object of column and weight")?.members()? {
            // The name is a key, so the place is that of its value.
            let value = name.into();
            let named = crate::json::At { value: &value, pointer: weight.pointer.clone() };
            weights.push((super::number_column(&named, &schema)?, weight.number()?));
        }
        let bias = site.at.optional("bias")?.map_or(Ok(0.0), |at| at.number())?;
        let name = match site.at.optional("column")? {
            Some(at) => super::new_column(&at, &schema)?,
            None => {
                let value = "score".into();
                super::new_column(&crate::json::At { value: &value, ..site.at.clone() }, &schema)?
            }
        };
        schema.push(name, Type::Float);
        Ok((Self { weights, bias }, schema))
    }

    /// Weights are added in the order of their columns' names, so that a score is the same everywhere to the last bit.
    pub(super) fn run(&self, input: &Arc<Batch>) -> Arc<Batch> {
        let mut scores = vec![self.bias; input.rows()];
        for (column, weight) in &self.weights {
            let column = &input.columns()[*column];
            for (row, score) in scores.iter_mut().enumerate() {
                // The reading of the plan made sure that it is a number.
                *score += weight * column.number(row).unwrap_or(0.0);
            }
        }
        Arc::new(input.with(Column::Float(scores)))
    }
}
