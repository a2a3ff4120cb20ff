//! `virtmark vmrun`

use std::env;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use virtmark_fleet::auth::Auth;
use virtmark_fleet::map::HostMap;
use virtmark_fleet::ssh::{ClientConfig, SshOptions, SshTransport};
use virtmark_fleet::{FleetReport, Job, MetricSummary, SCENARIO, Transport, Verdict, all_at_once, local};
use virtmark_host::signals;
use virtmark_model::{HypervisorFacts, RunId};
use virtmark_payload::{Code, Report};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, format};
use virtmark_scenarios::Progress as _;

use super::payload::limits;
use crate::args::{LoginArguments, VmrunArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure;
use crate::output;
use crate::payload_run::{self, Ran, Request};
use crate::progress::Progress;
use crate::stop::cancel_on;

pub(crate) fn run(options: &VmrunArguments, quiet: bool) -> anyhow::Result<Exit> {
    let progress = Progress::new(SCENARIO, quiet);
    // Cheapest first: nothing is sent that could not be run, or kept.
    let payload = payload_run::checked(&options.payload, &limits(&options.limits), &progress)?;
    let map = HostMap::from_file(&options.hosts)?;
    let transport = transport(options, &progress)?;
    let archive = measure::open(&options.archive)?;
    let id = options.id.clone().unwrap_or_else(payload_run::new_id);
    let job = job(options, &payload, &map, &id)?;
    let interrupt = signals::install().context("cannot listen for signals")?;
    let cancel = cancel_on(&interrupt, "stopping; what came home is kept", &progress)?;
    let hypervisor = HypervisorFacts {
        name: "machines".into(),
        version: format!("{} over {}", map.machines().len(), transport.name()),
        ..HypervisorFacts::default()
    };
    let request = Request {
        id,
        payload: &payload,
        job: &job,
        map: &map,
        transport: &transport,
        archive: &archive,
        output: &options.output,
        hypervisor,
        image: None,
        more: json!({}),
    };
    let Ran { report, verdict, kept } = payload_run::carry_out(request, &interrupt, &cancel, &progress)?;
    present(&report, quiet)?;
    kept?;
    Ok(match (interrupt.signal(), verdict) {
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
    let source = payload_run::source(&options.payload, payload)?;
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

fn table(report: &FleetReport) -> Table {
    let total = report.succeeded + report.failed;
    let mut table = Table::new(format!("{}: {} of {total} machines succeeded", report.run, report.succeeded));
    table.column("metric", Column::Name);
    table.column("machines", Column::Figure);
    for heading in FIGURES {
        table.column(heading, Column::Figure);
    }
    table.column("slowest", Column::Name);
    for metric in &report.metrics {
        let mut row = vec![name_of(metric).into(), metric.machines.to_string().into()];
        row.extend(figures(metric));
        row.push(metric.slowest.as_ref().map_or("-", |slowest| slowest.machine.as_str()).into());
        table.row(row);
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

/// Headings of [`figures`].
pub(super) const FIGURES: [&str; 4] = ["mean", "spread", "min", "max"];

/// A payload's metric between machines, in its unit.
pub(super) fn figures(metric: &MetricSummary) -> [Cell; 4] {
    let show = |value: f64| Cell::from(format::value(value, metric.unit));
    let spread = metric.spread.map_or_else(|| "-".into(), show);
    [show(metric.mean), spread, show(metric.min), show(metric.max)]
}

/// A payload's metric by its name, and what is counted where the unit does not say it: `requests (served)`.
pub(super) fn name_of(metric: &MetricSummary) -> String {
    match &metric.of {
        Some(of) => format!("{} ({of})", metric.metric),
        None => metric.metric.clone(),
    }
}
