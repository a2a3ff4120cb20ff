//! `virtmark tti`

use virtmark_scenarios::tti::{SCENARIO, Tti, TtiPlan};

use super::present::{Form, present};
use crate::args::TtiArguments;
use crate::exit::Exit;
use crate::measure::{Request, measure};
use crate::pace::{machines, pace};

pub(crate) fn run(options: &TtiArguments, quiet: bool) -> anyhow::Result<Exit> {
    let pace = pace(&options.pace)?;
    let record = Some((&options.record, machines(&pace)));
    let plan = TtiPlan { pace, command: options.command.clone(), timeout: options.timeout };
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &options.machine,
        endpoint: Some(&options.endpoint),
        record,
        archive: &options.archive,
        quiet,
    };
    let measured = measure(request, |platform, context| {
        let machine = platform.machine(&options.machine, plan.timeout);
        Ok(Tti { plan, machine }.run(context)?)
    })?;
    present(&measured.run, &measured.samples, Form::Json, quiet)?;
    measured.exit()
}
