//! `virtmark restore`

use virtmark_scenarios::restore::{Restore, RestorePlan, SCENARIO};

use super::present::{Form, present};
use crate::args::RestoreArguments;
use crate::exit::Exit;
use crate::measure::{Request, measure};
use crate::pace::{machines, pace};

/// The machine of the fixture, and those that read the working set with either state of the page cache.
const CACHE_STATES: u32 = 2;

pub(crate) fn run(options: &RestoreArguments, quiet: bool) -> anyhow::Result<Exit> {
    let plan = RestorePlan {
        pace: pace(&options.pace)?,
        timeout: options.timeout,
        working_set_bytes: options.working_set,
        working_set_iterations: options.working_set_iterations,
    };
    let others = options.working_set_iterations.saturating_mul(CACHE_STATES).saturating_add(1);
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &options.machine,
        endpoint: Some(&options.endpoint),
        record: Some((&options.record, machines(&plan.pace).saturating_add(others))),
        archive: &options.archive,
        quiet,
    };
    let measured = measure(request, |platform, context| {
        let scratch = platform.snapshot_dir(&options.machine)?;
        let machine = platform.machine(&options.machine, plan.timeout);
        Ok(Restore { plan, machine, scratch }.run(context)?)
    })?;
    present(&measured.run, &measured.samples, Form::Json, quiet)?;
    measured.exit()
}
