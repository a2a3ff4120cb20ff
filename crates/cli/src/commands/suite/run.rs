//! `virtmark suite run`

use std::collections::BTreeSet;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use virtmark_archive::{Archive, RunFilter};
use virtmark_host::signals;
use virtmark_model::{FailureClass, RunStatus};
use virtmark_report::format;
use virtmark_suite::{Ended, Step, SuiteReport, Turn, skipped};

use super::present::{is_unfinished, present, report, resume};
use super::record::{Earlier, Part, Record};
use super::{Loaded, command_line, random_seed, seed};
use crate::args::{Arguments, StepOfSuite, SuiteRunArguments};
use crate::exit::Exit;
use crate::failure;
use crate::measure;
use crate::output;

pub(super) fn run(options: &SuiteRunArguments, quiet: bool) -> anyhow::Result<Exit> {
    // Cheapest first: nothing is measured of a suite that has a mistake, or cannot be kept.
    let loaded = Loaded::read(&options.suite)?;
    let archive = measure::open(&options.archive)?;
    let selector = options.resume.as_deref();
    let mut earlier = selector.map(|selector| Earlier::find(&archive, selector, &loaded)).transpose()?;
    let drawn = earlier.as_ref().map_or_else(random_seed, |earlier| earlier.seed);
    let mut turns = loaded.suite.schedule(drawn);
    let all = turns.len();
    let mut parts = Vec::new();
    if let Some(earlier) = &mut earlier {
        turns.retain(|turn| !earlier.done.contains(turn));
        parts = std::mem::take(&mut earlier.parts);
    }
    if turns.is_empty() {
        output::people("virtmark: nothing is left to measure\n");
        return told(&parts, options, quiet);
    }
    let interrupt = signals::install().context("cannot listen for signals")?;
    let seed = seed(loaded.suite.order).unwrap_or(drawn);
    let mut record = Record::begin(&archive, &loaded, earlier.as_ref(), seed)?;
    let say = |text: &str| {
        if !quiet {
            output::people(text);
        }
    };
    say(&format!(
        "virtmark: {}: {} of {all} steps of {}\n",
        record.suite_id(),
        turns.len(),
        loaded.suite.name
    ));
    let mut stopped = None;
    for (position, turn) in turns.iter().enumerate() {
        if let Some(limit) = loaded.suite.time_limit.filter(|limit| record.elapsed() >= *limit) {
            let reason =
                format!("left out: the time_limit of {} was over", format::took_ns(limit.as_nanos() as f64));
            say(&format!("\nvirtmark: steps {} to {} {reason}\n", position + 1, turns.len()));
            skip(&turns[position..], &reason, &loaded, &mut record)?;
            break;
        }
        let step = &loaded.suite.steps[turn.step as usize - 1];
        say(&format!(
            "\nvirtmark: step {} of {}: {}{}\n",
            position + 1,
            turns.len(),
            step.label,
            if step.repetitions.get() > 1 {
                format!(", repetition {}", turn.repetition)
            } else {
                String::new()
            },
        ));
        let exit = take(*turn, step, options, &archive, &mut record, quiet)?;
        // What was interrupted is no end of a step: it is left to do.
        stopped = interrupt.signal().map(Exit::Signaled);
        if stopped.is_some() {
            break;
        }
        if exit != Exit::Ok && loaded.suite.stop_on_failure {
            let reason = format!("{} failed, and the suite stops on failure", step.label);
            skip(&turns[position + 1..], &reason, &loaded, &mut record)?;
            break;
        }
        let is_last = position + 1 == turns.len();
        if !is_last && interrupt.wait_timeout(step.cool_down) {
            stopped = interrupt.signal().map(Exit::Signaled);
            break;
        }
    }
    let status = if stopped.is_some() { RunStatus::Interrupted } else { RunStatus::Complete };
    parts.push(record.finish(status)?);
    let exit = told(&parts, options, quiet)?;
    Ok(stopped.unwrap_or(exit))
}

/// Tells of the suite, all of its parts, and gives the exit code that stands for it.
fn told(parts: &[Part], options: &SuiteRunArguments, quiet: bool) -> anyhow::Result<Exit> {
    let Some(report) = report(parts) else { return Ok(Exit::Ok) };
    present(&report, &options.archive, quiet)?;
    if !quiet && is_unfinished(parts, &report) {
        let command = resume(&options.suite, &report.suite_id, &options.archive);
        output::people(&format!("virtmark: to go on: {command}\n"));
    }
    Ok(exit_of_steps(&report))
}

/// How the steps ended: all alike, some well, or each in its way.
fn exit_of_steps(report: &SuiteReport) -> Exit {
    let codes: BTreeSet<u8> = report.steps.iter().filter_map(|step| step.exit).collect();
    match Vec::from_iter(codes)[..] {
        [] | [0] => Exit::Ok,
        [0, ..] => Exit::SomeFailed,
        [code] => Exit::of_code(code.into()).unwrap_or(Exit::NothingSucceeded),
        _ => Exit::NothingSucceeded,
    }
}

/// Runs a step as the command that it is, and keeps how it ended, unless it was interrupted.
fn take(
    turn: Turn,
    step: &Step,
    options: &SuiteRunArguments,
    archive: &Archive,
    record: &mut Record,
    quiet: bool,
) -> anyhow::Result<Exit> {
    let line = command_line(&step.arguments);
    // The same definitions took these arguments when the file was read.
    let mut arguments = Arguments::try_parse_from(&line).context("a step changed its meaning")?;
    if let Some(of_step) = arguments.command.archive_mut() {
        of_step.archive.clone_from(&options.archive.archive);
        of_step.step = Some(StepOfSuite {
            command_line: line,
            place: json!({
                "id": record.suite_id(),
                "name": record.run.configuration["suite"]["name"],
                "step": turn.step,
                "label": step.label,
                "repetition": turn.repetition,
            }),
        });
    }
    let started = record.elapsed();
    let result = {
        // The suite has one result: that of a step is in the archive.
        let _withheld = output::withhold();
        crate::dispatch(arguments.command, quiet)
    };
    let duration = record.elapsed().saturating_sub(started);
    let (exit, message) = match result {
        Ok(exit) => (exit, exit.meaning().to_owned()),
        Err(error) => {
            failure::tell(&error);
            (failure::exit_of(&error), failure::chain(&error))
        }
    };
    if matches!(exit, Exit::Signaled(_)) {
        return Ok(exit);
    }
    let ended = Ended {
        turn,
        label: &step.label,
        exit: exit.code(),
        run: run_of(archive, record, turn)?,
        started_ns: u64::try_from(started.as_nanos()).unwrap_or(u64::MAX),
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        failure: (exit != Exit::Ok).then(|| (class_of(exit), message)),
    };
    if exit != Exit::Ok && !quiet {
        let took = format::took_ns(ended.duration_ns as f64);
        output::people(&format!(
            "virtmark: {} ended with exit code {} after {took}\n",
            step.label,
            exit.code()
        ));
    }
    let sample = ended.sample(record.next_seq());
    record.keep(sample)?;
    Ok(exit)
}

/// Keeps that the steps left are not run, and why.
fn skip(left: &[Turn], reason: &str, loaded: &Loaded, record: &mut Record) -> anyhow::Result<()> {
    for turn in left {
        let label = &loaded.suite.steps[turn.step as usize - 1].label;
        let sample = skipped(*turn, label, record.next_seq(), reason);
        record.keep(sample)?;
    }
    Ok(())
}

/// The run that the turn made just now; none when it failed before there was one.
fn run_of(archive: &Archive, record: &Record, turn: Turn) -> anyhow::Result<Option<String>> {
    let filter = RunFilter { since: Some(record.run.started_at), ..RunFilter::default() };
    let is_of_turn = |configuration: &serde_json::Value| {
        let suite = &configuration["suite"];
        suite["id"] == record.suite_id()
            && suite["step"] == turn.step
            && suite["repetition"] == turn.repetition
    };
    let runs = archive.runs(&filter)?;
    Ok(runs
        .into_iter()
        .find(|stored| is_of_turn(&stored.run.configuration))
        .map(|stored| stored.run.id.to_string()))
}

/// The class of failure that ends a program so.
fn class_of(exit: Exit) -> FailureClass {
    FailureClass::ALL.into_iter().find(|class| Exit::of_class(*class) == exit).unwrap_or(FailureClass::Other)
}
