//! `take`: the first rows, or those with the largest value in a column, largest first.

use std::sync::Arc;

use super::Site;
use crate::batch::{Batch, MAX_ROWS, Schema};
use crate::json::Fault;

#[derive(Debug)]
pub(crate) struct Take {
    count: usize,
    by: Option<usize>,
}

impl Take {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["count", "by"])?;
        let schema = site.one_input("take")?;
        let at = site.at.required("count", "how many rows")?;
        let count = at.count(0, MAX_ROWS as u64)? as usize;
        let by = site.at.optional("by")?.map(|at| super::number_column(&at, schema)).transpose()?;
        Ok((Self { count, by }, schema.clone()))
    }

    pub(super) fn run(&self, input: &Arc<Batch>) -> Arc<Batch> {
        let Some(by) = self.by else {
            if input.rows() <= self.count {
                return Arc::clone(input);
            }
            return Arc::new(input.first(self.count));
        };
        let column = &input.columns()[by];
        let mut ranked: Vec<(f64, usize)> =
            (0..input.rows()).map(|row| (column.number(row).unwrap_or(f64::NAN), row)).collect();
        // Rows of one value stay in their order.
        let order = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if self.count < ranked.len() {
            if self.count > 0 {
                ranked.select_nth_unstable_by(self.count - 1, order);
            }
            ranked.truncate(self.count);
        }
        ranked.sort_unstable_by(order);
        let rows: Vec<usize> = ranked.into_iter().map(|(_, row)| row).collect();
        Arc::new(input.select(&rows))
    }
}
