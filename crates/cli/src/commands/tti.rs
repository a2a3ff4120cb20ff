//! `virtmark tti`

use std::num::NonZeroU32;
use std::time::Duration;

use virtmark_scenarios::tti::{Mode, Pace, SCENARIO, Tti, TtiPlan};

use super::present::{Form, present};
use crate::args::TtiArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::{Request, measure};

const DEFAULT_STAGGER: Duration = Duration::from_millis(200);

pub(crate) fn run(options: &TtiArguments, quiet: bool) -> anyhow::Result<Exit> {
    let plan = plan(options)?;
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &options.machine,
        record: Some((&options.record, options.iterations.get().saturating_add(options.warmup))),
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

fn plan(options: &TtiArguments) -> Result<TtiPlan, Failure> {
    let mode = Mode::from(options.mode);
    let concurrency = match (mode, options.concurrency) {
        (Mode::Sequential, Some(more)) if more.get() > 1 => {
            let message =
                "--concurrency is for several machines at once: add --mode burst or --mode staggered";
            return Err(Failure::usage(message));
        }
        (Mode::Sequential, _) => NonZeroU32::MIN,
        (_, chosen) => chosen.unwrap_or(options.iterations),
    };
    if options.stagger.is_some() && mode != Mode::Staggered {
        return Err(Failure::usage("--stagger is for --mode staggered: add that, or leave --stagger out"));
    }
    let pace = Pace {
        iterations: options.iterations,
        warmup: options.warmup,
        mode,
        concurrency,
        stagger: options.stagger.unwrap_or(DEFAULT_STAGGER),
        arrivals: None,
    };
    Ok(TtiPlan { pace, command: options.command.clone(), timeout: options.timeout })
}
