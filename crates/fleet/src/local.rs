//! One payload on this machine, as it would run on another: for its author, and where no machine is to be set up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde::Serialize;
use virtmark_host::process::{ProcessError, Spawn, Stream};
use virtmark_host::rundir::RunDir;
use virtmark_payload::metric::Results;
use virtmark_payload::{
    ENTRY_POINT, Finding, Limits, OutsideRoot, ROOT_VARIABLE, ReadError, Report, TOOL_DIRECTORIES,
    UnpackError, is_parameter_name, lint_file, unpack_file,
};

use crate::outcome::nanoseconds;

/// How long a payload may run where neither its manifest nor the user says.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
/// How soon a wish to stop is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// How to run a payload.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is unpacked, and stays.
    pub root: PathBuf,
    /// Directory in which its output is recorded, as `stdout` and `stderr`.
    pub output: PathBuf,
    /// When it is given up; without one, when its manifest says, or after an hour.
    pub timeout: Option<Duration>,
    /// Environment variables for it, beside `BENCH_ROOT`.
    pub parameters: BTreeMap<String, String>,
    /// Whether it may write outside of the root.
    pub outside: OutsideRoot,
    /// What it may unpack to.
    pub limits: Limits,
}

/// A payload that ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LocalRun {
    /// What it is, and what lint said of it.
    pub payload: Report,
    /// How it ended.
    #[serde(flatten)]
    pub ended: Ended,
    /// Unpacking.
    pub unpack_ns: u64,
    /// From its start to its end.
    pub run_ns: u64,
    /// Recorded standard output.
    pub stdout: Recorded,
    /// Recorded standard error.
    pub stderr: Recorded,
    /// Its results.
    #[serde(flatten)]
    pub results: Results,
}

/// Recorded output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// How a payload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub enum Ended {
    /// By itself.
    Exited {
        /// 0 is success.
        exit_code: i32,
    },
    /// The user stopped it.
    Interrupted,
    /// By a signal that was not ours.
    Signaled {
        /// Its number.
        signal: i32,
    },
    /// It ran for longer than it may.
    TimedOut,
}

impl Ended {
    /// Whether it did what it was to do.
    pub fn is_success(self) -> bool {
        self == Self::Exited { exit_code: 0 }
    }
}

/// Why a payload did not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Something could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Programs that it needs are not here.
    #[error("{} needs {}, which this machine does not have; install it", file.display(), missing.join(", "))]
    MissingTools {
        /// The payload.
        file: PathBuf,
        /// Their names.
        missing: Vec<String>,
    },
    /// A name that no parameter can have.
    #[error(
        "{name:?} is no parameter of a payload; use capitals, digits and `_`, not PATH and not {ROOT_VARIABLE}"
    )]
    Parameter {
        /// The name.
        name: String,
    },
    /// It could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It has errors, so that nothing was unpacked.
    #[error("{} is not run: {}; `virtmark payload lint` tells everything that is wrong", file.display(), first(report))]
    Refused {
        /// The payload.
        file: PathBuf,
        /// What is wrong with it.
        report: Box<Report>,
    },
    /// It could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

fn first(report: &Report) -> String {
    report.errors().next().map(Finding::to_string).unwrap_or_default()
}

/// Runs a payload: lint, unpack, run with `PATH` not set, record. What was unpacked stays.
///
/// When it ends, however it does, its whole process group ends. `stop` is asked now and then whether the user wants it
/// to end.
pub fn run(
    file: &Path,
    options: &Options,
    run_dir: &RunDir,
    stop: impl Fn() -> bool,
) -> Result<LocalRun, LocalError> {
    if let Some(name) = options.parameters.keys().find(|name| !is_parameter_name(name)) {
        return Err(LocalError::Parameter { name: name.clone() });
    }
    let payload = lint_file(file, &options.limits)?;
    if payload.errors().next().is_some() {
        return Err(LocalError::Refused { file: file.into(), report: Box::new(payload) });
    }
    let manifest = payload.manifest.clone().unwrap_or_default();
    let missing = missing_tools(&manifest.tools);
    if !missing.is_empty() {
        return Err(LocalError::MissingTools { file: file.into(), missing });
    }
    let io_error = |action, path: &Path, source| LocalError::Io { action, path: path.into(), source };
    fs::create_dir_all(&options.output).map_err(|source| io_error("make", &options.output, source))?;
    let unpacking = Instant::now();
    unpack_file(file, &options.root, &options.limits, options.outside)?;
    let unpack_ns = nanoseconds(unpacking.elapsed());
    let root = fs::canonicalize(&options.root).map_err(|source| io_error("find", &options.root, source))?;

    let (stdout, stderr) = (options.output.join("stdout"), options.output.join("stderr"));
    let mut spawn = Spawn::new("payload", root.join(ENTRY_POINT));
    spawn.clear_env().env(ROOT_VARIABLE, &root).current_dir(&root);
    options.parameters.iter().for_each(|(name, value)| {
        spawn.env(name, value);
    });
    for path in [&stdout, &stderr] {
        File::create(path).map_err(|source| io_error("write", path, source))?;
    }
    spawn.stdout(Stream::File(stdout.clone())).stderr(Stream::File(stderr.clone()));

    let timeout = options.timeout.or(manifest.timeout).unwrap_or(DEFAULT_TIMEOUT);
    let started = Instant::now();
    let child = spawn.start(run_dir)?;
    let ended = loop {
        let left = timeout.saturating_sub(started.elapsed());
        if let Some(status) = child.wait_timeout(left.min(LOOK)) {
            break ended(status);
        }
        let reason =
            if stop() { Some(Ended::Interrupted) } else { left.is_zero().then_some(Ended::TimedOut) };
        if let Some(reason) = reason {
            child.kill();
            child.wait();
            break reason;
        }
    };
    let run_ns = nanoseconds(started.elapsed());

    let recorded = |file: PathBuf| match fs::metadata(&file) {
        Ok(metadata) => Ok(Recorded { file, bytes: metadata.len() }),
        Err(source) => Err(io_error("read", &file, source)),
    };
    let results = File::open(&stdout).and_then(Results::read);
    let results = results.map_err(|source| io_error("read", &stdout, source))?;
    let (stdout, stderr) = (recorded(stdout)?, recorded(stderr)?);
    Ok(LocalRun { payload, ended, unpack_ns, run_ns, stdout, stderr, results })
}

/// Those that are in none of the directories where payloads look.
fn missing_tools(tools: &[String]) -> Vec<String> {
    let executable = |path: PathBuf| {
        fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let is_here =
        |tool: &&String| TOOL_DIRECTORIES.iter().any(|place| executable(Path::new(place).join(tool)));
    tools.iter().filter(|tool| !is_here(tool)).cloned().collect()
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(exit_code), _) => Ended::Exited { exit_code },
        (None, signal) => Ended::Signaled { signal: signal.unwrap_or_default() },
    }
}
