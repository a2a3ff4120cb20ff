//! `virtmark sweep`

mod results;
mod settings;
mod setup;
mod target;
pub(super) mod words;

use std::sync::Arc;

use serde_json::json;
use virtmark_hypervisor::MachineSpec;
use virtmark_scenarios::Context;
use virtmark_scenarios::sweep::{Interrupted, Location, METRIC, SCENARIO, Step, SweepPlan, SweepRun};

use self::results::Results;
pub(super) use self::results::{footer, knee_with, text};
use self::setup::Setup;
use crate::args::SweepArguments;
use crate::exit::Exit;
use crate::measure::{Request, measure};
use crate::output;

pub(crate) fn run(mut options: SweepArguments, quiet: bool) -> anyhow::Result<Exit> {
    let resumed = match &options.resume {
        None => None,
        Some(path) => {
            let (files, rows) = results::reopen(path)?;
            Some((files, Interrupted::new(path, rows)?, path.clone()))
        }
    };
    if let Some((_, interrupted, _)) = &resumed {
        settings::complete(&mut options, &interrupted.plan);
    }
    let mut machine = settings::machine(&options);
    let before = resumed.as_ref().map(|(_, interrupted, _)| &interrupted.plan);
    let plan = settings::plan(&options, &machine, before)?;
    setup::check(&plan)?;
    let (mut results, steps) = match resumed {
        None => (Results::create(&options.output_dir, &plan)?, plan.steps()),
        Some((files, interrupted, path)) => {
            interrupted.expect(&plan, &path)?;
            let steps = interrupted.remaining();
            (Results::resume(files, interrupted.rows, &plan), steps)
        }
    };
    if steps.is_empty() {
        output::people("virtmark: nothing is left to measure\n");
        results.finish(quiet)?;
        return Ok(Exit::Ok);
    }
    machine.vcpus = plan.vcpus.iter().max().copied().filter(|vcpus| *vcpus > 0);
    machine.memory = plan.memory_bytes;
    let endpoint = settings::service(&options);
    let request = Request {
        scenario: SCENARIO,
        options: json!({ "sweep": plan.settings(), "files": results.csv() }),
        machine: &machine,
        endpoint: (plan.location == Location::Service).then_some(&endpoint),
        record: None,
        archive: &options.archive,
        quiet,
    };
    let boot_timeout = options.place.boot_timeout;
    let mut measured = measure(request, |platform, context| {
        let setup = Setup::new(&plan, platform)?;
        let template = platform.machine(&machine, boot_timeout);
        let service = (plan.location == Location::Service).then(|| Arc::clone(&platform.hypervisor));
        drive(&plan, steps, template, setup, service, &platform.run_dir, context, &mut results)
    })?;
    results.tell(&measured.run, &measured.samples, quiet)?;
    results.finish(quiet)?;
    // A machine that was ready is no success of a sweep.
    measured.samples.retain(|sample| sample.metric == METRIC);
    measured.exit()
}

#[expect(clippy::too_many_arguments, reason = "what is known of a sweep by then, once")]
fn drive(
    plan: &SweepPlan,
    steps: Vec<Step>,
    machine: MachineSpec,
    setup: Setup,
    service: Option<Arc<dyn virtmark_hypervisor::Hypervisor>>,
    run_dir: &virtmark_host::rundir::RunDir,
    context: Context<'_>,
    results: &mut Results,
) -> anyhow::Result<virtmark_scenarios::Ending> {
    for words in &setup.warnings {
        context.progress.warn(words);
    }
    let Setup { outfit, redis, warnings } = setup;
    let sweep = SweepRun { plan, steps, machine, outfit, run_dir, redis, service, warnings };
    Ok(sweep.run(context, &mut |row| results.keep(row))?)
}
