//! `virtmark payload`

use std::fmt::Write;
use std::io;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use virtmark_fleet::local::{self, Ended, LocalRun, Options};
use virtmark_host::rundir::RunDir;
use virtmark_host::signals;
use virtmark_payload::{
    Limits, OutsideRoot, Report, Verdict, create_skeleton, default_file_name, lint, lint_file, pack,
};

use crate::args::{
    PayloadArguments, PayloadCommand, PayloadLimits, PayloadLintArguments, PayloadPackArguments,
    PayloadRunArguments,
};
use crate::exit::Exit;
use crate::failure;
use crate::output;

pub(crate) fn run(options: &PayloadArguments, quiet: bool) -> anyhow::Result<Exit> {
    match &options.command {
        PayloadCommand::Lint(options) => run_lint(options),
        PayloadCommand::New { name } => {
            let directory = create_skeleton(Path::new("."), name)?;
            tell(quiet, &format!("made {}; next: virtmark payload pack {0}\n", shown(&directory)));
            Ok(Exit::Ok)
        }
        PayloadCommand::Pack(options) => run_pack(options, quiet),
        PayloadCommand::Run(options) => run_here(options, quiet),
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(".").unwrap_or(path).display()
}

fn tell(quiet: bool, text: &str) {
    if !quiet {
        output::people(text);
    }
}

/// A report with the file that it is about.
#[derive(Serialize)]
struct FileReport<'a> {
    file: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// Whatever happens, the exit code is one of lint's three: who runs it must not take a file that is missing for one
/// that has warnings.
fn run_lint(options: &PayloadLintArguments) -> anyhow::Result<Exit> {
    let told = read_and_lint(options).and_then(|report| {
        if options.json {
            output::json(&FileReport { file: options.file.display().to_string(), report: &report })?;
        } else {
            output::stdout(|output| output.write_all(describe(&options.file, &report).as_bytes()))?;
        }
        Ok(report.verdict)
    });
    Ok(match told {
        Ok(Verdict::Clean) => Exit::Ok,
        Ok(Verdict::Warnings) => Exit::LintWarnings,
        Ok(Verdict::Errors) => Exit::LintErrors,
        Err(error) => {
            failure::tell(&error);
            Exit::LintErrors
        }
    })
}

fn read_and_lint(options: &PayloadLintArguments) -> anyhow::Result<Report> {
    let limits = limits(&options.limits);
    if options.file == Path::new("-") {
        return lint(io::stdin().lock(), &limits).context("cannot read the payload from standard input");
    }
    Ok(lint_file(&options.file, &limits)?)
}

pub(super) fn limits(options: &PayloadLimits) -> Limits {
    Limits { unpacked_bytes: options.max_size, ratio: options.max_ratio, entries: options.max_entries }
}

/// A line for each finding, and one for the whole.
fn describe(file: &Path, report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {finding}", file.display());
    }
    if report.findings_left_out > 0 {
        let _ = writeln!(text, "{}: {} more findings", file.display(), report.findings_left_out);
    }
    let errors = report.errors().count();
    let warnings = report.findings.len() - errors;
    let verdict = match report.verdict {
        Verdict::Clean => "clean".to_owned(),
        _ => format!("{errors} errors, {warnings} warnings"),
    };
    let entries =
        report.entries.files + report.entries.directories + report.entries.links + report.entries.others;
    let rest = if report.complete { "" } else { "; not read to its end" };
    let _ = writeln!(
        text,
        "{}: {verdict} ({entries} entries, {} bytes unpacked{rest})",
        file.display(),
        report.unpacked_bytes
    );
    text
}

fn run_pack(options: &PayloadPackArguments, quiet: bool) -> anyhow::Result<Exit> {
    let file = match &options.output {
        Some(file) => file.clone(),
        None => default_file_name(&options.directory)?.into(),
    };
    let packed = pack(&options.directory, &file)?;
    for warning in &packed.report.findings {
        tell(quiet, &format!("{}: {warning}\n", file.display()));
    }
    let digest = packed.report.sha256.unwrap_or_default();
    output::stdout(|output| writeln!(output, "{digest}  {}", file.display()))?;
    Ok(Exit::Ok)
}

fn run_here(options: &PayloadRunArguments, quiet: bool) -> anyhow::Result<Exit> {
    let run_dir = RunDir::create()?;
    let interrupt = signals::install().context("cannot listen for signals")?;
    let outside = if options.allow_outside_root { OutsideRoot::Allow } else { OutsideRoot::Refuse };
    let local = Options {
        root: options.root.clone(),
        output: options.output.clone(),
        timeout: options.timeout,
        parameters: options.parameters.iter().cloned().collect(),
        outside,
        limits: limits(&options.limits),
    };
    let run = local::run(&options.file, &local, &run_dir, || interrupt.requested())?;
    output::json(&run)?;
    tell(quiet, &summary(&run));
    Ok(match (run.ended, interrupt.signal()) {
        (Ended::Interrupted, Some(signal)) => Exit::Signaled(signal),
        (Ended::TimedOut, _) => Exit::Timeout,
        (ended, _) if ended.is_success() => Exit::Ok,
        _ => Exit::NothingSucceeded,
    })
}

fn summary(run: &LocalRun) -> String {
    let mut text = String::new();
    let wrong = run.payload.findings.iter().map(ToString::to_string);
    for line in wrong.chain(run.results.malformed.iter().map(ToString::to_string)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "virtmark: {line}");
    }
    let ended = match run.ended {
        Ended::Exited { exit_code: 0 } => "succeeded".into(),
        Ended::Exited { exit_code } => format!("failed with exit code {exit_code}"),
        Ended::Interrupted => "was stopped".into(),
        Ended::Signaled { signal } => format!("was ended by signal {signal}"),
        Ended::TimedOut => "ran out of time".into(),
    };
    let seconds = run.run_ns as f64 / 1e9;
    let results = run.results.metrics.len() as u64 + run.results.metrics_left_out;
    let (stdout, stderr) = (run.stdout.file.display(), run.stderr.file.display());
    let _ = writeln!(
        text,
        "virtmark: it {ended} after {seconds:.3} s; {results} results; see {stdout} and {stderr}"
    );
    text
}
