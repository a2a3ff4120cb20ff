//! `virtmark tti`

use virtmark_scenarios::tti::{SCENARIO, Tti, TtiPlan};

use super::present::Form;
use super::subject::Subject;
use crate::args::TtiArguments;
use crate::exit::Exit;
use crate::measure::Request;
use crate::pace::{machines, pace};

pub(crate) fn run(options: &TtiArguments, quiet: bool) -> anyhow::Result<Exit> {
    subject(options, quiet)?.measure(Form::Json)
}

/// What the options ask for.
pub(super) fn subject(options: &TtiArguments, quiet: bool) -> anyhow::Result<Subject<'_>> {
    let pace = pace(&options.pace)?;
    let plan = TtiPlan { pace: pace.clone(), command: options.command.clone(), timeout: options.timeout };
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &options.machine,
        endpoint: Some(&options.endpoint),
        record: Some((&options.record, machines(&pace))),
        archive: &options.archive,
        quiet,
    };
    Ok(Subject {
        request,
        pace,
        timeout: options.timeout,
        snapshots: false,
        scenario: Box::new(move |platform| {
            let machine = platform.machine(&options.machine, options.timeout);
            Ok(Box::new(Tti { plan: plan.clone(), machine }))
        }),
    })
}
