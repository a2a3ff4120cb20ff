//! `virtmark vmrun`

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use virtmark_archive::RunWriter;
use virtmark_fleet::auth::Auth;
use virtmark_fleet::map::{HostMap, Machine};
use virtmark_fleet::ssh::{ClientConfig, SshOptions, SshTransport};
use virtmark_fleet::{
    Failure as MachineFailure, FleetReport, Job, MachineRun, ResultsDir, SCENARIO, Source, Transport,
    Verdict, Watch, all_at_once, local,
};
use virtmark_host::signals;
use virtmark_model::{HypervisorFacts, Run, RunId, RunStatus, Sample};
use virtmark_payload::{Code, Report, lint_file};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, format};
use virtmark_scenarios::{Plan, Progress as _};

use super::payload::limits;
use crate::args::{LoginArguments, VmrunArguments};
use crate::environment::{self, Meter};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure;
use crate::output;
use crate::progress::Progress;
use crate::stop::cancel_on;

pub(crate) fn run(options: &VmrunArguments, quiet: bool) -> anyhow::Result<Exit> {
    let progress = Progress::new(SCENARIO, quiet);
    // Cheapest first: nothing is sent that could not be run, or kept.
    let payload = checked(options, &progress)?;
    let map = HostMap::from_file(&options.hosts)?;
    let transport = transport(options, &progress)?;
    let archive = measure::open(&options.archive)?;
    let started_at = Timestamp::now();
    let id = options.id.clone().unwrap_or_else(|| RunId::new(SCENARIO, started_at, measure::random()));
    let job = job(options, &payload, &map, &id)?;
    let results = ResultsDir::create(&options.output, id.as_str()).with_context(|| {
        let place = options.output.join(id.as_str());
        format!(
            "cannot make the directory of results {}; choose another place with --output",
            place.display()
        )
    })?;
    let interrupt = signals::install().context("cannot listen for signals")?;
    let cancel = cancel_on(&interrupt, "stopping; what came home is kept", &progress)?;
    let meter = Meter::start();
    let facts = HypervisorFacts {
        name: "machines".into(),
        version: format!("{} over {}", map.machines().len(), transport.name()),
        ..HypervisorFacts::default()
    };
    let mut run = Run {
        id,
        scenario: SCENARIO.into(),
        started_at,
        finished_at: None,
        status: RunStatus::Running,
        configuration: configuration(options, &payload, &job, &map, results.path()),
        environment: environment::of(facts),
    };
    let writer = archive.begin(&run)?;
    progress.note(&format!(
        "{}: {} on {} machines",
        run.id,
        name_of(&payload, &job.source),
        map.machines().len()
    ));
    progress.begin(Plan { warmups: 0, samples: map.machines().len() as u64 });
    let recorder = Recorder {
        progress: progress.clone(),
        payload: name_of(&payload, &job.source),
        state: Mutex::new(State { writer, samples: Vec::new(), problem: None, waiting: Vec::new() }),
    };
    let machines = virtmark_fleet::run(&map, &job, &transport, &results, &recorder, &cancel);
    progress.finish();

    let State { writer, samples, problem, .. } =
        recorder.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    meter.finish(&mut run.environment, machines.len() as u64);
    run.status = match interrupt.signal() {
        Some(_) => RunStatus::Interrupted,
        None => RunStatus::Complete,
    };
    let finished_at = Timestamp::now();
    run.finished_at = Some(finished_at);
    let report = FleetReport::from_samples(&run, &samples);
    let all = Everything { report: &report, details: &machines };
    let written = results.finish(&machines, &all).with_context(|| {
        format!("cannot write the results in {}; those of each machine are there", results.path().display())
    });
    let ended = writer.finish(run.status, finished_at, &run.environment);
    present(&report, quiet)?;
    written?;
    // What the archive could not take is in the directory all the same.
    problem.map_or(Ok(()), Err)?;
    ended?;
    Ok(match (interrupt.signal(), Verdict::of(&machines)) {
        (Some(signal), _) => Exit::Signaled(signal),
        (None, Verdict::AllSucceeded) => Exit::Ok,
        (None, Verdict::NoneSucceeded) => Exit::NothingSucceeded,
        (None, Verdict::NotReady) => Exit::NotReady,
        (None, Verdict::SomeSucceeded) => Exit::SomeFailed,
    })
}

/// Prints what there is to say of a run: a table for people, JSON for machines.
pub(crate) fn present(report: &FleetReport, quiet: bool) -> anyhow::Result<()> {
    if !quiet {
        output::people(&format!("\n{}", table(report).render(Style::for_stderr())));
    }
    output::json(report)
}

/// What lint says of the payload; an error where it says that it must not be run.
fn checked(options: &VmrunArguments, progress: &Progress) -> anyhow::Result<Report> {
    let report = lint_file(&options.payload, &limits(&options.limits))?;
    let file = options.payload.display();
    if let Some(first) = report.errors().next() {
        let message = format!("{file} is not sent: {first}; `virtmark payload lint {file}` tells everything");
        return Err(Failure::usage(message).into());
    }
    for warning in &report.findings {
        progress.note(&format!("{file}: {warning}"));
    }
    Ok(report)
}

fn transport(options: &VmrunArguments, progress: &Progress) -> anyhow::Result<SshTransport> {
    let LoginArguments { user, host_keys, known_hosts, ssh_config } = &options.login;
    let auth = options.auth_file.as_deref().map(Auth::from_file).transpose()?;
    if let (Some(Auth { exposed: true, .. }), Some(file)) = (&auth, &options.auth_file) {
        let file = file.display();
        progress.warn(&format!("others can read the secret in {file}; take their right: chmod 600 {file}"));
    }
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let config = match ssh_config {
        Some(file) if !file.exists() => {
            return Err(
                Failure::usage(format!("there is no {}, named with --ssh-config", file.display())).into()
            );
        }
        Some(file) => file.clone(),
        None => home.join(".ssh/config"),
    };
    let config = ClientConfig::from_file(&config, &home)
        .with_context(|| format!("cannot read {}; name another with --ssh-config", config.display()))?;
    let local_user = ["USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok());
    let options = SshOptions {
        auth,
        config,
        home,
        user: user.clone(),
        local_user: local_user.unwrap_or_else(|| "root".into()),
        agent_socket: variable("SSH_AUTH_SOCK").map(PathBuf::from),
        host_keys: host_keys.map(|host_keys| host_keys.policy()),
        known_hosts: known_hosts.clone(),
    };
    SshTransport::new(options).context("cannot start the threads for SSH")
}

fn job(options: &VmrunArguments, payload: &Report, map: &HostMap, id: &RunId) -> anyhow::Result<Job> {
    let machines = map.machines().len();
    if options.ready.count(machines) > machines {
        let message = format!("--ready {} cannot be: the map has {machines} machines", options.ready);
        return Err(Failure::usage(message).into());
    }
    let file = options.payload.display();
    let source = Source::read(&options.payload).with_context(|| format!("cannot read {file}"))?;
    if payload.sha256.as_ref() != Some(&source.sha256) {
        anyhow::bail!("{file} changed while it was checked; run again when nothing writes to it");
    }
    let manifest = payload.manifest.clone().unwrap_or_default();
    Ok(Job {
        id: id.to_string(),
        source,
        root: options.root.clone(),
        variables: options.parameters.iter().cloned().collect(),
        tools: manifest.tools,
        absolute_paths: payload.findings.iter().any(|finding| finding.code == Code::OutsideRoot),
        need: options.ready,
        ready_time: Some(options.timeout).filter(|time| !time.is_zero()),
        transfer_time: Some(options.transfer_timeout),
        run_time: options.run_timeout.or(manifest.timeout).or(Some(local::DEFAULT_TIMEOUT)),
        retries: options.retries,
        parallel: options.parallel.unwrap_or_else(|| all_at_once(map)),
    })
}

/// The name that the payload gives itself, or that of its file.
fn name_of(payload: &Report, source: &Source) -> String {
    payload.manifest.as_ref().and_then(|manifest| manifest.name.clone()).unwrap_or_else(|| source.name())
}

fn configuration(
    options: &VmrunArguments,
    payload: &Report,
    job: &Job,
    map: &HostMap,
    results: &Path,
) -> Value {
    let ns = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let manifest = payload.manifest.as_ref();
    json!({
        "command_line": measure::command_line(),
        "payload": {
            "name": name_of(payload, &job.source),
            "version": manifest.and_then(|manifest| manifest.version.clone()),
            "file": options.payload,
            "bytes": job.source.bytes,
            "sha256": job.source.sha256,
        },
        "machines": map,
        "root": job.root,
        "parameters": job.variables,
        "ready": options.ready.to_string(),
        "ready_timeout_ns": ns(job.ready_time),
        "transfer_timeout_ns": ns(job.transfer_time),
        "run_timeout_ns": ns(job.run_time),
        "retries": job.retries,
        "parallel": job.parallel,
        "results": results,
    })
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

fn table(report: &FleetReport) -> Table {
    let total = report.succeeded + report.failed;
    let mut table = Table::new(format!("{}: {} of {total} machines succeeded", report.run, report.succeeded));
    table.column("metric", Column::Name);
    for heading in ["machines", "mean", "spread", "min", "max"] {
        table.column(heading, Column::Figure);
    }
    table.column("slowest", Column::Name);
    for metric in &report.metrics {
        let show = |value: f64| Cell::from(format::value(value, metric.unit));
        let name = match &metric.of {
            Some(of) => format!("{} ({of})", metric.metric),
            None => metric.metric.clone(),
        };
        table.row(vec![
            name.into(),
            metric.machines.to_string().into(),
            show(metric.mean),
            metric.spread.map_or_else(|| "-".into(), show),
            show(metric.min),
            show(metric.max),
            metric.slowest.as_ref().map_or("-", |slowest| slowest.machine.as_str()).into(),
        ]);
    }
    for machine in report.machines.iter().filter(|machine| !machine.succeeded) {
        let message = machine.message.as_deref().unwrap_or("nothing was run");
        table.note(message, virtmark_report::Tone::Bad);
    }
    if let Some(results) = &report.results {
        table.note(format!("what came home is in {results}"), virtmark_report::Tone::Plain);
    }
    table
}
