//! Each command: from its options to the calls that do it.

pub(crate) mod capture;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod guest;
pub(crate) mod image;
pub(crate) mod import;
pub(crate) mod kvbench;
pub(crate) mod kvrun;
pub(crate) mod lab;
pub(crate) mod lifecycle;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod payload;
pub(crate) mod plan;
pub(crate) mod plot;
mod present;
pub(crate) mod remove;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod runs;
pub(crate) mod series;
pub(crate) mod serve;
pub(crate) mod show;
mod subject;
pub(crate) mod suite;
pub(crate) mod sweep;
pub(crate) mod tti;
pub(crate) mod vmrun;

use virtmark_host::rundir::clean_leftovers as clean;

use crate::output;

/// Removes what a killed virtmark left behind, and says so.
pub(crate) fn clean_leftovers() {
    // A command that needs these directories will say what is wrong with them.
    let Ok(leftovers) = clean() else { return };
    for leftover in leftovers {
        let processes = match leftover.processes.len() {
            0 => String::new(),
            1 => ", ended 1 process".into(),
            count => format!(", ended {count} processes"),
        };
        let line = match &leftover.problem {
            None => format!(
                "virtmark: removed what process {} left in {}{processes}\n",
                leftover.owner_pid,
                leftover.path.display()
            ),
            Some(problem) => format!(
                "virtmark: process {} left something behind{processes}: {problem}\n",
                leftover.owner_pid
            ),
        };
        output::people(&line);
    }
}
