//! A payload on the machines of a map, with the run that it becomes in the archive.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use virtmark_archive::{Archive, RunWriter};
use virtmark_fleet::map::{HostMap, Machine};
use virtmark_fleet::{
    Failure as MachineFailure, FleetReport, Job, MachineRun, ResultsDir, SCENARIO, Source, Transport,
    Verdict, Watch, run,
};
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::Cancel;
use virtmark_model::{HypervisorFacts, ImageFacts, Run, RunId, RunStatus, Sample};
use virtmark_payload::{Limits, Report, lint_file};
use virtmark_scenarios::{Plan, Progress as _};

use crate::environment::{self, Meter};
use crate::failure::Failure;
use crate::measure;
use crate::progress::Progress;

/// What lint says of a payload; an error where it says that it must not be run.
pub(crate) fn checked(payload: &Path, limits: &Limits, progress: &Progress) -> anyhow::Result<Report> {
    let report = lint_file(payload, limits)?;
    let file = payload.display();
    if let Some(first) = report.errors().next() {
        let message = format!("{file} is not sent: {first}; `virtmark payload lint {file}` tells everything");
        return Err(Failure::usage(message).into());
    }
    for warning in &report.findings {
        progress.note(&format!("{file}: {warning}"));
    }
    Ok(report)
}

/// The payload as it is sent, which is the one that was checked.
pub(crate) fn source(payload: &Path, report: &Report) -> anyhow::Result<Source> {
    let file = payload.display();
    let source = Source::read(payload).with_context(|| format!("cannot read {file}"))?;
    if report.sha256.as_ref() != Some(&source.sha256) {
        anyhow::bail!("{file} changed while it was checked; run again when nothing writes to it");
    }
    Ok(source)
}

/// The name that the payload gives itself, or that of its file.
pub(crate) fn name_of(payload: &Report, source: &Source) -> String {
    payload.manifest.as_ref().and_then(|manifest| manifest.name.clone()).unwrap_or_else(|| source.name())
}

/// The name of the next run.
pub(crate) fn new_id() -> RunId {
    RunId::new(SCENARIO, Timestamp::now(), measure::random())
}

/// What is run, where, and where it is kept.
pub(crate) struct Request<'a> {
    pub(crate) id: RunId,
    /// What lint says of the payload.
    pub(crate) payload: &'a Report,
    pub(crate) job: &'a Job,
    pub(crate) map: &'a HostMap,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) archive: &'a Archive,
    /// The directory in which that of the run is made.
    pub(crate) output: &'a Path,
    /// What runs the machines.
    pub(crate) hypervisor: HypervisorFacts,
    pub(crate) image: Option<ImageFacts>,
    /// What else goes on record, by name.
    pub(crate) more: Value,
}

/// What became of it.
pub(crate) struct Ran {
    pub(crate) report: FleetReport,
    pub(crate) verdict: Verdict,
    /// Why not everything could be kept; what the machines did is in the report all the same.
    pub(crate) kept: anyhow::Result<()>,
}

/// Runs a payload on all machines of a map, and keeps what comes home in a directory and in the archive.
pub(crate) fn carry_out(
    request: Request<'_>,
    interrupt: &Interrupt,
    cancel: &Cancel,
    progress: &Progress,
) -> anyhow::Result<Ran> {
    let Request { id, payload, job, map, transport, archive, output, hypervisor, image, more } = request;
    let results = ResultsDir::create(output, id.as_str()).with_context(|| {
        let place = output.join(id.as_str());
        format!(
            "cannot make the directory of results {}; choose another place with --output",
            place.display()
        )
    })?;
    let meter = Meter::start();
    let mut run_of = Run {
        id,
        scenario: SCENARIO.into(),
        started_at: Timestamp::now(),
        finished_at: None,
        status: RunStatus::Running,
        configuration: configuration(payload, job, map, results.path(), more),
        environment: environment::of(hypervisor),
    };
    run_of.environment.image = image;
    let writer = archive.begin(&run_of)?;
    let name = name_of(payload, &job.source);
    progress.note(&format!("{}: {name} on {} machines", run_of.id, map.machines().len()));
    progress.begin(Plan { warmups: 0, samples: map.machines().len() as u64 });
    let recorder = Recorder {
        progress: progress.clone(),
        payload: name,
        state: Mutex::new(State { writer, samples: Vec::new(), problem: None, waiting: Vec::new() }),
    };
    let machines = run(map, job, transport, &results, &recorder, cancel);
    progress.finish();

    let State { writer, samples, problem, .. } =
        recorder.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    meter.finish(&mut run_of.environment, machines.len() as u64);
    run_of.status = match interrupt.signal() {
        Some(_) => RunStatus::Interrupted,
        None => RunStatus::Complete,
    };
    let finished_at = Timestamp::now();
    run_of.finished_at = Some(finished_at);
    let report = FleetReport::from_samples(&run_of, &samples);
    let all = Everything { report: &report, details: &machines };
    let written = results.finish(&machines, &all).with_context(|| {
        format!("cannot write the results in {}; those of each machine are there", results.path().display())
    });
    let ended = writer.finish(run_of.status, finished_at, &run_of.environment);
    // What the archive could not take is in the directory all the same.
    let kept = written.and(problem.map_or(Ok(()), Err)).and(ended.map_err(Into::into));
    Ok(Ran { report, verdict: Verdict::of(&machines), kept })
}

fn configuration(payload: &Report, job: &Job, map: &HostMap, results: &Path, more: Value) -> Value {
    let ns = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let manifest = payload.manifest.as_ref();
    let mut all = json!({
        "command_line": measure::command_line(),
        "payload": {
            "name": name_of(payload, &job.source),
            "version": manifest.and_then(|manifest| manifest.version.clone()),
            "file": job.source.path,
            "bytes": job.source.bytes,
            "sha256": job.source.sha256,
        },
        "machines": map,
        "root": job.root,
        "parameters": job.variables,
        "ready": job.need.to_string(),
        "ready_timeout_ns": ns(job.ready_time),
        "transfer_timeout_ns": ns(job.transfer_time),
        "run_timeout_ns": ns(job.run_time),
        "retries": job.retries,
        "parallel": job.parallel,
        "results": results,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

/// Everything about a run, for its directory.
#[derive(Serialize)]
struct Everything<'a> {
    #[serde(flatten)]
    report: &'a FleetReport,
    details: &'a [MachineRun],
}

/// Shows what happens, and keeps each machine's samples as soon as it is done.
struct Recorder {
    progress: Progress,
    payload: String,
    state: Mutex<State>,
}

struct State {
    writer: RunWriter,
    samples: Vec<Sample>,
    /// What kept the archive from taking a sample.
    problem: Option<anyhow::Error>,
    /// Machines of which was told that they are waited for.
    waiting: Vec<String>,
}

impl Watch for Recorder {
    fn waiting(&self, machine: &Machine, failure: &MachineFailure) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.waiting.contains(&machine.name) {
            state.waiting.push(machine.name.clone());
            self.progress.note(&format!("{}: {failure}; trying again", machine.name));
        }
    }

    fn done(&self, run: &MachineRun) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = run.samples(&self.payload, state.samples.len() as u64);
        for malformed in &run.results.malformed {
            self.progress.note(&format!("{}: {malformed}", run.machine.name));
        }
        for sample in &samples {
            if state.problem.is_none()
                && let Err(error) = state.writer.record(sample)
            {
                self.progress
                    .warn(&format!("the archive takes no more, the directory of results does: {error}"));
                state.problem = Some(error.into());
            }
        }
        if let Some(first) = samples.first() {
            self.progress.recorded(first);
        }
        state.samples.extend(samples);
    }
}
