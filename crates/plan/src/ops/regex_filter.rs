//! `regex_filter`: the rows in which a text matches a pattern, or the others.

use std::sync::Arc;

use regex::Regex;

use super::Site;
use crate::batch::{Batch, Column, Schema, Type};
use crate::json::Fault;
use crate::problem::Problem;

#[derive(Debug)]
pub(crate) struct RegexFilter {
    column: usize,
    pattern: Regex,
    keeps_matching: bool,
}

impl RegexFilter {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["column", "pattern", "keep"])?;
        let schema = site.one_input("regex_filter")?;
        let at = site.at.required("column", "the name of a column of texts")?;
        let (column, kind) = super::column(&at, schema)?;
        if kind != Type::Text {
            let name = at.text()?.to_owned();
            return Err(at.fault(Problem::OfType { name, found: kind, expected: "text" }));
        }
        let at = site.at.required("pattern", "a regular expression")?;
        let pattern = Regex::new(at.text()?).map_err(|error| {
            // The engine draws a picture over several lines; its last line is the reason.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            at.fault(Problem::BadPattern { why })
        })?;
        let keeps_matching = match site.at.optional("keep")? {
            Some(at) => at.one_of("choice", &[("matching", true), ("others", false)])?,
            None => true,
        };
        Ok((Self { column, pattern, keeps_matching }, schema.clone()))
    }

    pub(super) fn run(&self, input: &Arc<Batch>) -> Arc<Batch> {
        // The reading of the plan made sure that it is text.
        let Column::Text(texts) = &*input.columns()[self.column] else { return Arc::clone(input) };
        let kept =
            texts.iter().enumerate().filter(|(_, text)| self.pattern.is_match(text) == self.keeps_matching);
        let rows: Vec<usize> = kept.map(|(row, _)| row).collect();
        if rows.len() == input.rows() {
            return Arc::clone(input);
        }
        Arc::new(input.select(&rows))
    }
}
