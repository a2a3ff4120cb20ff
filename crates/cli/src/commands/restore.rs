//! `virtmark restore`

use virtmark_scenarios::restore::{Restore, RestorePlan, SCENARIO};

use super::present::Form;
use super::subject::Subject;
use crate::args::RestoreArguments;
use crate::exit::Exit;
use crate::measure::Request;
use crate::pace::{machines, pace};

/// States of the page cache in which the working set is read.
const CACHE_STATES: u32 = 2;

pub(crate) fn run(options: &RestoreArguments, quiet: bool) -> anyhow::Result<Exit> {
    subject(options, 1, quiet)?.measure(Form::Json)
}

/// What the options ask for, in so many blocks: unless they say otherwise, each reads the working set.
pub(super) fn subject(options: &RestoreArguments, blocks: u32, quiet: bool) -> anyhow::Result<Subject<'_>> {
    let pace = pace(&options.pace)?;
    let working_set_iterations = options
        .working_set_iterations
        .unwrap_or_else(|| RestorePlan::DEFAULT_WORKING_SET_ITERATIONS.max(blocks));
    let plan = RestorePlan {
        pace: pace.clone(),
        timeout: options.timeout,
        working_set_bytes: options.working_set,
        working_set_iterations,
    };
    // Those that read the working set, and that of the snapshot in each block.
    let others = working_set_iterations.saturating_mul(CACHE_STATES).saturating_add(blocks);
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &options.machine,
        endpoint: Some(&options.endpoint),
        record: Some((&options.record, machines(&pace).saturating_add(others))),
        archive: &options.archive,
        quiet,
    };
    Ok(Subject {
        request,
        pace,
        timeout: options.timeout,
        snapshots: true,
        scenario: Box::new(move |platform| {
            let scratch = platform.snapshot_dir(&options.machine)?;
            let machine = platform.machine(&options.machine, options.timeout);
            Ok(Box::new(Restore { plan: plan.clone(), machine, scratch }))
        }),
    })
}
