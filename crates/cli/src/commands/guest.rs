//! `virtmark guest`

use std::collections::BTreeSet;

use serde_json::json;
use virtmark_driver_native::Native;
use virtmark_host::cgroup::{Limits, MachineCgroup};
use virtmark_host::rundir::RunDir;
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, Tone, format};
use virtmark_scenarios::compare::Direction;
use virtmark_scenarios::guest::{
    Field, Graded, Guest, GuestPlan, GuestReport, HostLimits, SCENARIO, SideFigures, Suite, TestFigures,
};

use super::present::{Form, present};
use crate::args::GuestArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::{Request, measure};

/// The image with the tools.
const IMAGE: &str = "bench";
/// Processes and threads that the host's side may have: tools have a few for each CPU.
const HOST_TASKS: u32 = 4096;

pub(crate) fn run(mut options: GuestArguments, quiet: bool) -> anyhow::Result<Exit> {
    options.machine.image.get_or_insert_with(|| IMAGE.into());
    let plan = plan(&options)?;
    let mut on_record = serde_json::to_value(&plan)?;
    on_record["timeout_ns"] = json!(u64::try_from(options.timeout.as_nanos())?);
    let request = Request {
        scenario: SCENARIO,
        options: on_record,
        machine: &options.machine,
        endpoint: None,
        record: None,
        archive: &options.archive,
        quiet,
    };
    let mut measured = measure(request, |platform, context| {
        let machine = platform.machine(&options.machine, options.timeout);
        // Where machines have their disks.
        let file_bytes = if plan.has(Suite::Storage) { plan.file_bytes } else { 0 };
        let scratch = platform.run_dir.bulk_dir("guest-host-file", file_bytes.saturating_mul(2))?;
        let memory = host_cgroup(&platform.run_dir, machine.vcpus, machine.memory_bytes);
        let limits = HostLimits::of_this_process(machine.vcpus, memory);
        let host = Native::new(platform.run_dir.clone())?;
        let guest = Guest { plan, machine, limits, scratch };
        Ok(guest.run(context, &host)?)
    })?;
    present(&measured.run, &measured.samples, Form::Json, quiet)?;
    // Readings around the tools are no results.
    measured.samples.retain(|sample| sample.labels.contains_key("test"));
    measured.exit()
}

fn plan(options: &GuestArguments) -> anyhow::Result<GuestPlan> {
    let suites: Vec<Suite> = options.suites.iter().flat_map(|choice| choice.suites()).copied().collect();
    let mut plan = GuestPlan::new(options.profile.into(), &suites);
    if let Some(stranger) = options.only.iter().find(|test| !plan.tests.contains(test)) {
        let message =
            format!("--only {stranger} is a test of the suite {}, which is not asked for", stranger.suite());
        return Err(Failure::usage(message).into());
    }
    if !options.only.is_empty() {
        plan.tests.retain(|test| options.only.contains(test));
    }
    if let Some(seconds) = options.time {
        (plan.seconds, plan.network_seconds) = (seconds, seconds);
    }
    plan.blocks = options.blocks.unwrap_or(plan.blocks);
    plan.file_bytes = options.size.unwrap_or(plan.file_bytes);
    plan.depth = options.depth.unwrap_or(plan.depth);
    plan.port = options.port;
    Ok(plan)
}

/// A cgroup with the guest's memory as its limit; why there is none.
fn host_cgroup(run_dir: &RunDir, vcpus: u32, memory_bytes: u64) -> Result<MachineCgroup, String> {
    let cgroups = run_dir.cgroups()?;
    if !cgroups.controllers().contains(&"memory") {
        return Err("this process may not limit memory by cgroups".into());
    }
    let limits = Limits { cpus: vcpus, memory_bytes, tasks: HOST_TASKS };
    cgroups.machine("guest-host", limits).map_err(|error| error.to_string())
}

/// What people read of a run.
pub(super) fn tables(report: &GuestReport) -> String {
    let style = Style::for_stderr();
    // A run that ended before its first test has nothing to draw.
    if report.tests.is_empty() {
        return format!("\n{}", footer(report));
    }
    let (ratios, overhead) = (ratios(report), overhead(report));
    format!("\n{}\n{}\n{}", ratios.render(style), overhead.render(style), footer(report))
}

/// Each test, with the guest beside the host.
fn ratios(report: &GuestReport) -> Table {
    let mut table = Table::new("the guest beside the bare host: medians of blocks");
    table.column("test", Column::Name);
    for heading in ["guest", "host", "guest / host", "95 % interval"] {
        table.column(heading, Column::Figure);
    }
    table.column("", Column::Text);
    for test in &report.tests {
        let value = |side: &SideFigures| {
            side.median.map_or_else(|| "-".into(), |value| format::value(value, test.unit))
        };
        let (ratio, interval) = match &test.ratio {
            Some(ratio) => {
                let interval = ratio.ci95.map(|ci| format!("{}–{}", short(ci.low), short(ci.high)));
                (short(ratio.point), interval.unwrap_or_else(|| "too few blocks".into()))
            }
            None => ("-".into(), "-".into()),
        };
        table.row(vec![
            Cell::from(test.test.as_str()),
            value(&test.guest).into(),
            value(&test.host).into(),
            ratio.into(),
            interval.into(),
            remark(test).into(),
        ]);
    }
    for (words, tone) in reasons(&report.tests) {
        table.note(words, tone);
    }
    for words in places(&report.tests) {
        table.note(words, Tone::Plain);
    }
    // Several tests have one tool.
    let versions: BTreeSet<String> =
        report.tests.iter().filter(|test| test.versions_differ()).map(differing).collect();
    if !versions.is_empty() {
        let words = format!(
            "The two sides have tools of different versions: {}.",
            Vec::from_iter(versions).join("; ")
        );
        table.note(words, Tone::Warning);
    }
    for lack in &report.host_limits.lacks {
        table.note(format!("{lack}."), Tone::Plain);
    }
    table
}

/// What else there is to know of a row, in a few words; reasons stand below the table.
fn remark(test: &TestFigures) -> String {
    let mut words: Vec<String> = Vec::new();
    match &test.ratio {
        Some(ratio) if ratio.emulated => words.push("emulated".into()),
        Some(_) => {}
        None if test.skipped.is_some() => words.push("skipped".into()),
        None if failed(test) == 0 => words.extend(test.why_no_ratio()),
        None => {}
    }
    if test.better == Direction::Lower && test.ratio.is_some() {
        words.push("lower is better".into());
    }
    match failed(test) {
        0 => {}
        1 => words.push("failed".into()),
        count => words.push(format!("{count} failed")),
    }
    words.join("; ")
}

fn failed(test: &TestFigures) -> u64 {
    test.guest.failures.values().chain(test.host.failures.values()).sum()
}

/// Why tests failed or were skipped: each reason once, with all the tests that have it.
fn reasons(tests: &[TestFigures]) -> Vec<(String, Tone)> {
    let mut found: Vec<(&str, Tone, Vec<&str>)> = Vec::new();
    for test in tests {
        let failed = test.guest.messages.values().chain(test.host.messages.values());
        let failed = failed.map(|reason| (reason, Tone::Warning));
        for (reason, tone) in failed.chain(test.skipped.iter().map(|reason| (reason, Tone::Plain))) {
            let at = found.iter().position(|(known, ..)| known == reason).unwrap_or_else(|| {
                found.push((reason, tone, Vec::new()));
                found.len() - 1
            });
            found[at].2.push(test.test.as_str());
        }
    }
    let words =
        |(reason, tone, tests): (&str, Tone, Vec<&str>)| (format!("{}: {reason}.", tests.join(", ")), tone);
    found.into_iter().map(words).collect()
}

/// What tests of storage and of the network work on, where both sides were measured: said once for all of them.
fn places(tests: &[TestFigures]) -> BTreeSet<String> {
    let of_network = |side: &SideFigures| side.network.clone();
    let of_storage = |side: &SideFigures| {
        let direct = if side.direct == Some(false) { " through the page cache" } else { "" };
        side.target.as_ref().map(|target| format!("a {target}{direct}"))
    };
    let both = |what: &str, guest: Option<String>, host: Option<String>| {
        Some(format!("{what}: {} in the guest, {} on the host.", guest?, host?))
    };
    let network =
        tests.iter().filter_map(|test| both("The network", of_network(&test.guest), of_network(&test.host)));
    let storage =
        tests.iter().filter_map(|test| both("fio works on", of_storage(&test.guest), of_storage(&test.host)));
    network.chain(storage).collect()
}

fn differing(test: &TestFigures) -> String {
    // OpenSSL adds the version of its library in parentheses.
    let version = |side: &SideFigures| {
        let told = side.tool_version.as_deref().unwrap_or_default();
        told.split(" (").next().unwrap_or_default().to_owned()
    };
    format!("{} in the guest, {} on the host", version(&test.guest), version(&test.host))
}

/// The guide's fields with their grades.
fn overhead(report: &GuestReport) -> Table {
    let mut table = Table::new("overhead, graded by the guide's table");
    table.column("field", Column::Name);
    for heading in ["value", "95 % interval", "in percent"] {
        table.column(heading, Column::Figure);
    }
    table.column("grade", Column::Text);
    for field in Field::ALL {
        let graded: &Graded = report.overhead.field(field);
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
        let interval = graded.ci95.map(|ci| format!("{}–{}", short(ci.low), short(ci.high)));
        table.row(vec![
            Cell::from(field.as_str()),
            number(graded.value).into(),
            interval.unwrap_or_else(|| "-".into()).into(),
            number(graded.percent).into(),
            graded.grade_text.as_str().into(),
        ]);
    }
    if report.emulated {
        let words = "Guest code ran in SOFTWARE EMULATION: the targets were not meant for that, and the ratios are the emulator's.";
        table.note(words, Tone::Warning);
    }
    table
}

/// Three or four digits that people can compare.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        large if large >= 1.0 => 2,
        large if large >= 0.1 || large == 0.0 => 3,
        _ => 5,
    };
    format!("{value:.digits$}")
}

fn footer(report: &GuestReport) -> String {
    let mut text = String::new();
    let harness = &report.harness;
    if let (Some(prepare), Some(tools @ 1..), Some(own), Some(share)) =
        (harness.prepare_ns, harness.tools_ns, harness.harness_ns, harness.harness_share)
    {
        let time = |ns: u64| format::duration_ns(ns as f64);
        text.push_str(&format!(
            "preparing took {}, tools {}, virtmark around them {} ({})\n",
            time(prepare),
            time(tools),
            time(own),
            format::percent(share)
        ));
    }
    text.push_str(&format!("again: virtmark show {}\n", report.run_id));
    text
}
