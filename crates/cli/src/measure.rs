//! The frame around every scenario: archive, platform, run, and what is said of them.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use virtmark_archive::Archive;
use virtmark_host::signals;
use virtmark_hypervisor::Observer;
use virtmark_model::{Environment, HypervisorFacts, Outcome, Run, RunId, RunStatus, Sample};
use virtmark_scenarios::{Context, Ending};

use crate::args::{ArchiveArguments, EndpointArguments, MachineArguments, RecordArguments, StepOfSuite};
use crate::endpoint;
use crate::environment::{self, Meter};
use crate::exit::Exit;
use crate::platform::{self, Platform};
use crate::progress::Progress;
use crate::recording;
use crate::stop::Stop;

/// A run that has ended, with everything measured in it.
pub(crate) struct Measured {
    pub(crate) run: Run,
    /// As they are stored.
    pub(crate) samples: Vec<Sample>,
    pub(crate) ending: End,
    stopped_by: Option<Exit>,
}

/// How a run ended.
pub(crate) enum End {
    Scenario(Ending),
    /// It could not go on.
    Error(anyhow::Error),
}

/// What to measure: a scenario, with its part of the configuration.
pub(crate) struct Request<'a> {
    pub(crate) scenario: &'static str,
    /// Every option of the scenario with its value: an object.
    pub(crate) options: Value,
    pub(crate) machine: &'a MachineArguments,
    /// The service to measure instead; none for scenarios that need machines of this host.
    pub(crate) endpoint: Option<&'a EndpointArguments>,
    /// How machines are recorded, and how many there will be; none for a scenario that does it itself.
    pub(crate) record: Option<(&'a RecordArguments, u32)>,
    pub(crate) archive: &'a ArchiveArguments,
    pub(crate) quiet: bool,
}

/// Runs a scenario on the platform that the options ask for, and keeps the run.
///
/// Errors are those of everything before the first measurement; later ones are the end of a run.
pub(crate) fn measure(
    request: Request<'_>,
    scenario: impl FnOnce(&Platform, Context<'_>) -> anyhow::Result<Ending>,
) -> anyhow::Result<Measured> {
    let Request { options, machine, endpoint, record, quiet, .. } = request;
    let progress = Progress::new(request.scenario, quiet);
    // Cheapest first: what cannot be kept need not be measured.
    let archive = open(request.archive)?;
    let prepared = platform::prepare(machine, endpoint, &progress)?;
    let stop = Stop::watch(signals::install()?, progress.clone())?;
    let Some(platform) = platform::open_watched(machine, prepared, &progress, &stop)? else {
        return Err(interrupted_before(&stop));
    };
    let recorder = match record {
        Some((options, machines)) => recording::start(options, machines, &platform, &progress)?,
        None => None,
    };
    let meter = Meter::start();
    let started_at = Timestamp::now();
    let mut run = Run {
        id: RunId::new(request.scenario, started_at, random()),
        scenario: request.scenario.into(),
        started_at,
        finished_at: None,
        status: RunStatus::Running,
        configuration: configuration(
            options,
            machine,
            endpoint,
            record.map(|(options, _)| options),
            &request.archive.step,
        ),
        environment: environment::before(&platform),
    };
    progress.note(&headline(&run));
    let mut writer = archive.begin(&run)?;
    let context = Context {
        hypervisor: platform.hypervisor.as_ref(),
        sink: &mut writer,
        progress: &progress,
        observer: recorder.as_ref().map(|recorder| recorder as &dyn Observer),
        interrupt: &stop,
        started: Instant::now(),
    };
    let ending = scenario(&platform, context);
    if let Some(recorder) = recorder {
        recording::finish(recorder, &progress);
    }
    platform.remark(&progress);
    progress.finish();
    let stopped_by = stop.exit();
    drop(stop);
    drop(platform);

    meter.finish(&mut run.environment, progress.machines());
    run.status = status_of(&ending);
    let finished_at = Timestamp::now();
    run.finished_at = Some(finished_at);
    let finished = writer.finish(run.status, finished_at, &run.environment);
    let samples = archive.samples(&run.id)?;
    let ending = match (ending, finished) {
        (Ok(ending), Ok(())) => End::Scenario(ending),
        (Err(error), _) => End::Error(error),
        (Ok(_), Err(error)) => End::Error(error.into()),
    };
    Ok(Measured { run, samples, ending, stopped_by })
}

impl Measured {
    /// What the program ends with, once everything is said. An error comes back as one.
    pub(crate) fn exit(self) -> anyhow::Result<Exit> {
        match self.ending {
            End::Error(error) => Err(error),
            End::Scenario(Ending::Interrupted) => Ok(self.stopped_by.unwrap_or(Exit::Signaled(2))),
            End::Scenario(Ending::Complete | Ending::Stopped { .. }) => Ok(exit_of_samples(&self.samples)),
        }
    }
}

/// What is on record of a run whose scenario ended so.
pub(crate) fn status_of<E>(ending: &Result<Ending, E>) -> RunStatus {
    match ending {
        Ok(Ending::Complete) => RunStatus::Complete,
        Ok(Ending::Interrupted) => RunStatus::Interrupted,
        Ok(Ending::Stopped { .. }) | Err(_) => RunStatus::Failed,
    }
}

/// Opens the archive that the options name.
pub(crate) fn open(options: &ArchiveArguments) -> anyhow::Result<Archive> {
    Ok(Archive::open(path(options)?)?)
}

/// Opens the archive that the options name, to look at it.
pub(crate) fn open_read_only(options: &ArchiveArguments) -> anyhow::Result<Archive> {
    Ok(Archive::open_read_only(path(options)?)?)
}

fn path(options: &ArchiveArguments) -> anyhow::Result<std::path::PathBuf> {
    match &options.archive {
        Some(path) => Ok(path.clone()),
        None => Ok(Archive::default_path()?),
    }
}

/// What the run is going to be, in a line.
pub(crate) fn headline(run: &Run) -> String {
    let Environment { hypervisor, image, .. } = &run.environment;
    let mut line = format!("{} on {}", run.id, describe(hypervisor));
    if let Some(image) = image {
        let kernel = image.kernel_release.as_deref().unwrap_or("unknown");
        line.push_str(&format!(
            ", image {} {}, kernel {kernel}",
            image.name,
            image.id.get(..12).unwrap_or(&image.id)
        ));
    }
    line
}

/// A platform in a few words; emulation is said first of all.
pub(crate) fn describe(hypervisor: &HypervisorFacts) -> String {
    let mut line = format!("{} {}", hypervisor.name, hypervisor.version);
    if let Some(accelerator) = hypervisor.accelerator {
        let emulated = match (hypervisor.nested_in_emulation, hypervisor.is_emulated()) {
            (true, _) => ", NESTED IN EMULATION",
            (false, true) => ", SOFTWARE EMULATION",
            (false, false) => "",
        };
        line.push_str(&format!(" ({accelerator}{emulated}"));
        if let Some(reason) = &hypervisor.accelerator_reason {
            line.push_str(&format!(": {reason}"));
        }
        line.push(')');
    }
    line
}

pub(crate) fn configuration(
    options: Value,
    machine: &MachineArguments,
    endpoint: Option<&EndpointArguments>,
    record: Option<&RecordArguments>,
    step: &Option<StepOfSuite>,
) -> Value {
    let mut all = match step {
        None => json!({ "command_line": command_line() }),
        Some(step) => json!({
            "command_line": without_tokens(step.command_line.iter().cloned()),
            "suite": step.place,
        }),
    };
    let record = record.map(recording::configuration).unwrap_or_default();
    let machine = match endpoint.filter(|endpoint| endpoint.endpoint.is_some()) {
        Some(endpoint) => endpoint::configuration(endpoint, machine),
        None => platform::configuration(machine),
    };
    for part in [options, machine, record] {
        if let (Value::Object(all), Value::Object(part)) = (&mut all, part) {
            all.extend(part);
        }
    }
    all
}

/// The program's own command line as it may be kept and shown.
pub(crate) fn command_line() -> Vec<String> {
    without_tokens(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// A command line as it may be kept and shown.
fn without_tokens(arguments: impl Iterator<Item = String>) -> Vec<String> {
    const OPTION: &str = "--token";
    let mut kept: Vec<String> = Vec::new();
    for argument in arguments {
        let is_token = kept.last().is_some_and(|last| last == OPTION);
        let joined = argument.strip_prefix(OPTION).is_some_and(|rest| rest.starts_with('='));
        kept.push(match (is_token, joined) {
            (true, _) => "***".into(),
            (false, true) => format!("{OPTION}=***"),
            (false, false) => argument,
        });
    }
    kept
}

/// What a program ends with whose attempts ended so.
pub(crate) fn exit_of_samples(samples: &[Sample]) -> Exit {
    let classes: BTreeSet<_> = samples.iter().filter_map(|sample| sample.outcome.failure()).collect();
    let succeeded = samples.iter().any(|sample| matches!(sample.outcome, Outcome::Success { .. }));
    match (succeeded, classes.first()) {
        (_, None) => Exit::Ok,
        (true, Some(_)) => Exit::SomeFailed,
        (false, Some(class)) if classes.len() == 1 => Exit::of_class(*class),
        (false, Some(_)) => Exit::NothingSucceeded,
    }
}

pub(crate) fn interrupted_before(stop: &Stop) -> anyhow::Error {
    let exit = stop.exit().unwrap_or(Exit::Signaled(2));
    crate::failure::Failure { exit, message: "stopped before anything was measured".into() }.into()
}

/// Tells runs of one second apart. The standard library seeds its hashers from the system's randomness.
pub(crate) fn random() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}

#[cfg(test)]
mod tests {
    use virtmark_model::{FailureClass, Unit};

    use super::*;

    fn sample(outcome: Outcome) -> Sample {
        Sample {
            seq: 0,
            metric: "tti".into(),
            unit: Unit::Ns,
            started_ns: 0,
            outcome,
            phases: Vec::new(),
            labels: Default::default(),
        }
    }

    #[test]
    fn a_token_is_not_kept() {
        let kept = |line: &str| without_tokens(line.split(' ').map(Into::into)).join(" ");
        assert_eq!(kept("virtmark tti --token secret --warmup 0"), "virtmark tti --token *** --warmup 0");
        assert_eq!(
            kept("virtmark tti --token=secret --cmd --token"),
            "virtmark tti --token=*** --cmd --token"
        );
        assert_eq!(kept("virtmark serve --tokens x"), "virtmark serve --tokens x");
    }

    #[test]
    fn the_exit_tells_whether_and_why_iterations_failed() {
        let good = || sample(Outcome::Success { value: 1.0 });
        let bad = |class| sample(Outcome::Failure { class, message: String::new() });
        let skip = || sample(Outcome::Skipped { reason: String::new() });
        let (panic, silent) = (FailureClass::GuestPanic, FailureClass::GuestSilent);
        assert_eq!(exit_of_samples(&[good(), skip()]), Exit::Ok);
        assert_eq!(exit_of_samples(&[good(), bad(panic)]), Exit::SomeFailed);
        assert_eq!(exit_of_samples(&[bad(panic), bad(panic)]), Exit::GuestPanic);
        assert_eq!(exit_of_samples(&[bad(panic), bad(silent)]), Exit::NothingSucceeded);
        assert_eq!(exit_of_samples(&[bad(FailureClass::Other)]), Exit::NothingSucceeded);
    }
}
