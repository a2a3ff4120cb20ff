//! `virtmark tune`

use serde::Serialize;
use virtmark_report::Style;
use virtmark_scenarios::compare::{Comparison, Purpose, Recorded, Request, compare};
use virtmark_stats::compare::DEFAULT_BLOCKS;

use super::pair::take_turns;
use super::sides::Sides;
use super::{certainty, tables};
use crate::args::TuneArguments;
use crate::exit::Exit;
use crate::failure::exit_of;
use crate::output;

/// What became of one remedy.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub(super) remedy: &'static str,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// Machines took turns, B with the remedy.
    Compared { comparison: Box<Comparison> },
    /// This host, or these machines, cannot have it.
    Skipped { skipped: String },
}

pub(crate) fn run(options: &TuneArguments, quiet: bool) -> anyhow::Result<Exit> {
    let request = Request {
        metrics: options.metrics.clone(),
        options: certainty(&options.certainty),
        ..Request::default()
    };
    let blocks = options.blocks.unwrap_or(DEFAULT_BLOCKS as u32);
    let mut tried = Vec::new();
    let mut ended = None;
    for remedy in &options.remedies {
        let sides = Sides::parse(&options.scenario, ["", ""])?;
        let outcome =
            match take_turns(sides, Some(*remedy), blocks, Purpose::Compare, &options.archive, quiet) {
                Err(error) if exit_of(&error) == Exit::Unsupported => {
                    Outcome::Skipped { skipped: error.to_string() }
                }
                Err(error) => return Err(error),
                Ok(pair) if pair.ended.is_some() => {
                    ended = pair.ended;
                    break;
                }
                Ok(pair) => {
                    let [a, b] = pair.runs.each_ref().map(|(run, samples)| Recorded { run, samples });
                    Outcome::Compared { comparison: Box::new(compare(a, b, &request)?) }
                }
            };
        tried.push(Tried { remedy: remedy.as_str(), outcome });
    }
    if !quiet {
        output::people(&format!("\n{}", tables::remedies(&tried).render(Style::for_stderr())));
    }
    output::json(&tried)?;
    match ended {
        Some(exit) => exit,
        None => Ok(Exit::Ok),
    }
}
