//! `virtmark lifecycle`

use serde_json::json;
use virtmark_scenarios::lifecycle::{Lifecycle, LifecyclePlan, SCENARIO};
use virtmark_scenarios::pace::Pace;

use super::present::Form;
use super::subject::Subject;
use crate::args::{LifecycleArguments, LifecycleFormat};
use crate::exit::Exit;
use crate::measure::Request;
use crate::pace::machines;

pub(crate) fn run(options: &LifecycleArguments, quiet: bool) -> anyhow::Result<Exit> {
    let form = match options.format {
        LifecycleFormat::Csv => Form::Csv,
        LifecycleFormat::Json => Form::Json,
    };
    subject(options, quiet)?.measure(form)
}

/// What the options ask for.
pub(super) fn subject(options: &LifecycleArguments, quiet: bool) -> anyhow::Result<Subject<'_>> {
    let plan = LifecyclePlan { iterations: options.iterations, warmup: options.warmup };
    let pace = Pace::sequential(options.iterations, options.warmup);
    let mut on_record = serde_json::to_value(&plan)?;
    on_record["timeout_ns"] = json!(u64::try_from(options.timeout.as_nanos())?);
    let request = Request {
        scenario: SCENARIO,
        options: on_record,
        machine: &options.machine,
        endpoint: None,
        // Each life has a second machine, from the first one's snapshot.
        record: Some((&options.record, machines(&pace).saturating_mul(2))),
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
            let plan = plan.clone();
            Ok(Box::new(Lifecycle { plan, machine, scratch, stop_deadline: options.timeout }))
        }),
    })
}
