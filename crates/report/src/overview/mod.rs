//! What stands above the figures of a report: how a suite went, grades, platforms side by side with their ranks, what
//! running inside costs, how machines moved, and what could be done about it.
//!
//! Everything is a [`Part`] of tables and figures, so that HTML and Markdown say the same.

mod advice;
mod grades;
mod migration;
mod overhead;
mod platforms;
mod ranking;
mod steps;

use virtmark_scenarios::migrate::{self, MigrateReport};
use virtmark_suite::{StepReport, builtin_text, named_again};

use self::migration::Moves;

pub use ranking::ranks;

use crate::ReportError;
use crate::entry::Entry;
use crate::figure::Figure;
use crate::format;
use crate::table::Table;

/// The suite that the runs of a report are the steps of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How its steps ended, those of all its parts, in the order in which they were run.
    pub steps: Vec<StepReport>,
    /// Steps that nobody came to.
    pub left: u64,
    /// What is to be said of it: that it was interrupted, and gone on with.
    pub remarks: Vec<String>,
    /// The command that goes on with it, where something was not run.
    pub go_on: Option<String>,
    /// Its file, or its name where it is built in: what `virtmark suite run` was given.
    pub file: String,
    /// The text of its file.
    pub text: String,
}

/// A section of a report.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its heading.
    pub title: String,
    /// What is said first, a paragraph each.
    pub texts: Vec<String>,
    /// Tables; a title of theirs is a heading below the section's.
    pub tables: Vec<Table>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// Texts to be copied, each with what it is.
    pub listings: Vec<(String, String)>,
}

/// The parts of the overview that there is something to say in.
pub(crate) fn parts(entries: &[Entry<'_>], suite: Option<&Suite>) -> Result<Vec<Part>, ReportError> {
    let moves = moves(entries)?;
    let parts = [
        suite.map(|suite| steps::part(suite, entries)),
        grades::part(entries, &moves).filter(|_| suite.is_some()),
        platforms::part(entries, suite.is_some())?,
        overhead::part(entries),
        migration::part(&moves),
        advice::part(entries),
    ];
    Ok(parts.into_iter().flatten().collect())
}

/// Runs of migrations with their figures.
fn moves<'e, 'a>(entries: &'e [Entry<'a>]) -> Result<Vec<Moves<'e, 'a>>, ReportError> {
    let of_entry = |entry: &'e Entry<'a>| {
        let report = MigrateReport::from_samples(entry.run(), &entry.samples.samples);
        let report = report.map_err(|source| ReportError::Summary {
            run: entry.run().id.to_string(),
            metric: migrate::SCENARIO.into(),
            source,
        });
        Ok(Moves { entry, report: report? })
    };
    entries.iter().filter(|entry| entry.run().scenario == migrate::SCENARIO).map(of_entry).collect()
}

/// How to do all of it again.
pub(crate) fn repeat(suite: &Suite) -> Part {
    let file = named_again(&suite.file, &suite.text);
    let is_built_in = builtin_text(&suite.file) == Some(suite.text.as_str());
    let what = match is_built_in {
        true => format!("Its steps; {} is built in, and `virtmark suite show` writes it out:", suite.file),
        false => format!("Its file, which the command expects as {file}:"),
    };
    let command = format!("virtmark suite run {}", format::shell_word(&file));
    Part {
        title: "How to repeat the suite".into(),
        listings: vec![("The command:".into(), command), (what, suite.text.trim_end().into())],
        ..Part::default()
    }
}
