//! Two runs that take turns: the frame that `measure` is for one.

use jiff::Timestamp;
use serde_json::json;
use virtmark_driver_qemu::Remedy;
use virtmark_host::signals;
use virtmark_hypervisor::MachineSpec;
use virtmark_model::{Outcome, Run, RunId, RunStatus, Sample};
use virtmark_scenarios::compare::{Interleaved, Purpose, Side, interleave};
use virtmark_scenarios::{Context, Ending, Plan, Sink};

use super::sides::Sides;
use crate::args::ArchiveArguments;
use crate::commands::subject::Subject;
use crate::environment::{self, Meter};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::{configuration, exit_of_samples, headline, interrupted_before, open, random, status_of};
use crate::platform;
use crate::progress::Progress;
use crate::stop::Stop;

/// Two runs that took turns, as they are stored.
pub(super) struct Pair {
    pub(super) runs: [(Run, Vec<Sample>); 2],
    /// What the program ends with, where they did not come to their end.
    pub(super) ended: Option<anyhow::Result<Exit>>,
}

/// Lets two configurations take turns in so many blocks, and keeps both runs. Machines of side B have the remedy.
///
/// Errors are those of everything before the first measurement; later ones are the end of the runs.
pub(super) fn take_turns(
    sides: Sides,
    remedy: Option<Remedy>,
    blocks: u32,
    purpose: Purpose,
    kept_in: &ArchiveArguments,
    quiet: bool,
) -> anyhow::Result<Pair> {
    let subjects = sides.subjects(blocks, quiet)?;
    let name = subjects[0].request.scenario;
    let progress = Progress::new(name, quiet);
    let archive = open(kept_in)?;
    let prepare = |Subject { request, .. }: &Subject<'_>| {
        platform::prepare(request.machine, request.endpoint, &progress)
    };
    let prepared = [prepare(&subjects[0])?, prepare(&subjects[1])?];
    let stop = Stop::watch(signals::install()?, progress.clone())?;
    let mut platforms = Vec::new();
    for (Subject { request, timeout, snapshots, .. }, prepared) in subjects.iter().zip(prepared) {
        let Some(platform) = platform::open_watched(request.machine, prepared, &progress, &stop)? else {
            return Err(interrupted_before(&stop));
        };
        platforms.push(match remedy.filter(|_| platforms.len() == 1) {
            Some(remedy) => {
                let machine = platform.machine(request.machine, *timeout);
                let machine = MachineSpec { snapshots: *snapshots, ..machine };
                platform.with_remedy(remedy, &machine)?
            }
            None => platform,
        });
    }
    let scenario = |number: usize| (subjects[number].scenario)(&platforms[number]);
    let scenarios = [scenario(0)?, scenario(1)?];
    let sizes = [0, 1].map(|number| scenarios[number].size(platforms[number].hypervisor.as_ref()));
    let size = Plan {
        warmups: sizes.iter().map(|size| size.warmups).sum(),
        samples: sizes.iter().map(|size| size.samples).sum(),
    };
    let meter = Meter::start();
    let started_at = Timestamp::now();
    let ids = [random(), random()].map(|random| RunId::new(name, started_at, random));
    let mut runs = Vec::new();
    for (number, side) in [Side::A, Side::B].into_iter().enumerate() {
        let (request, partner) = (&subjects[number].request, ids[1 - number].clone());
        let mut all = configuration(
            request.options.clone(),
            request.machine,
            request.endpoint,
            request.record.map(|(options, _)| options),
            &kept_in.step,
        );
        if let Some(remedy) = remedy.filter(|_| side == Side::B) {
            all["remedy"] = json!(remedy.as_str());
        }
        all["interleaved"] = json!(Interleaved { partner, side, blocks, purpose });
        let run = Run {
            id: ids[number].clone(),
            scenario: name.into(),
            started_at,
            finished_at: None,
            status: RunStatus::Running,
            configuration: all,
            environment: environment::before(&platforms[number]),
        };
        progress.note(&headline(&run));
        runs.push(run);
    }
    let (mut a, mut b) = (archive.begin(&runs[0])?, archive.begin(&runs[1])?);
    let sinks: [&mut dyn Sink; 2] = [&mut a, &mut b];
    let ending = interleave(blocks, size, sinks, &progress, &stop, |side, turn| {
        let number = usize::from(side == Side::B);
        let context = Context {
            hypervisor: platforms[number].hypervisor.as_ref(),
            sink: turn.sink,
            progress: turn.progress,
            observer: None,
            interrupt: &stop,
            started: turn.started,
        };
        scenarios[number].measure(turn.block, context)
    });
    platforms.iter().for_each(|platform| platform.remark(&progress));
    progress.finish();
    let stopped_by = stop.exit();
    drop(stop);
    drop(platforms);

    let status = status_of(&ending);
    let finished_at = Timestamp::now();
    let mut finished = Ok(());
    for (run, writer) in runs.iter_mut().zip([a, b]) {
        meter.finish(&mut run.environment, progress.machines());
        (run.status, run.finished_at) = (status, Some(finished_at));
        // Both, whatever becomes of the first: one that is not finished looks as if it went on.
        finished = finished.and(writer.finish(status, finished_at, &run.environment));
    }
    let mut stored = Vec::new();
    for run in runs {
        let samples = archive.samples(&run.id)?;
        stored.push((run, samples));
    }
    let ending: anyhow::Result<Ending> = match (ending, finished) {
        (Ok(ending), Ok(())) => Ok(ending),
        (Err(error), _) => Err(error.into()),
        (Ok(_), Err(error)) => Err(error.into()),
    };
    let ended = match ending {
        Ok(Ending::Complete) => nothing_succeeded(&stored),
        Ok(Ending::Interrupted) => Some(Ok(stopped_by.unwrap_or(Exit::Signaled(2)))),
        Ok(Ending::Stopped { .. }) => {
            let all: Vec<Sample> = stored.iter().flat_map(|(_, samples)| samples.clone()).collect();
            Some(Ok(exit_of_samples(&all)))
        }
        Err(error) => Some(Err(error)),
    };
    let [a, b] = [stored.remove(0), stored.remove(0)];
    Ok(Pair { runs: [a, b], ended })
}

/// The exit of a side on which nothing succeeded, if there is one: there is nothing to compare then.
fn nothing_succeeded(stored: &[(Run, Vec<Sample>)]) -> Option<anyhow::Result<Exit>> {
    let without =
        |(_, samples): &&(Run, Vec<Sample>)| samples.iter().all(|sample| sample.outcome.value().is_none());
    let (run, samples) = stored.iter().find(without)?;
    let skipped = samples.iter().find_map(|sample| match &sample.outcome {
        Outcome::Skipped { reason } => Some(reason),
        Outcome::Failure { .. } | Outcome::Success { .. } => None,
    });
    Some(match (exit_of_samples(samples), skipped) {
        (Exit::Ok, Some(reason)) => {
            let platform = &run.environment.hypervisor.name;
            let message = format!("there is no {} to compare on {platform}: {reason}", run.scenario);
            Err(Failure { exit: Exit::Unsupported, message }.into())
        }
        (exit, _) => Ok(exit),
    })
}
