//! Options of `virtmark sweep`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_scenarios::sweep::PerRequest;
use virtmark_stats::knee::Slo;

use super::{Accel, ArchiveArguments, KernelArguments, StartChoice};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark sweep                                        concat_plan in a machine with 4 vCPUs, about 90 seconds
  VCPUS=2 DURATION_SEC=5 RUNS=3 virtmark sweep          the same variables as flags
  virtmark sweep --vcpus 2,4,6 --slo 'p99<20ms,errors<0.1%'
  virtmark sweep --plan reels_plan_a                    brings this host's Redis into the machine
  virtmark sweep --plan my_plan.json --sync --in native
  virtmark sweep --url http://127.0.0.1:8080/ --upload ./server=server --service './server --port 8080'
  virtmark sweep --url http://10.0.0.5/ --in native --rate 100,200,400
  virtmark sweep --cmd '/bin/true' --concurrency 1,2,4
  virtmark sweep --endpoint http://127.0.0.1:8080 --per-request life --concurrency 1,2,4
  virtmark sweep --resume perf_results/sweep_20260125_120000.jsonl

Writes sweep_<time>.csv, .jsonl and _summary.txt after every run, pictures at the end, and keeps every run in the \
archive. Ctrl-C keeps what is done; --resume goes on with it. docs/sweep.md has what is counted, and what goes wrong.")]
pub(crate) struct SweepArguments {
    #[command(flatten)]
    pub(crate) target: TargetArguments,

    #[command(flatten)]
    pub(crate) load: LoadArguments,

    #[command(flatten)]
    pub(crate) place: PlaceArguments,

    /// Directory for the results, made where there is none
    #[arg(long, env = "OUTPUT_DIR", value_name = "DIR", default_value = "./perf_results")]
    pub(crate) output_dir: PathBuf,

    /// Go on with an interrupted sweep, by its .jsonl or .csv; options may be left out, and others are refused
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Go beyond the guard rails: 60 s for each run, 30 s of duration, 100 requests of warm-up, 128 at once, as many CPU
    /// threads as vCPUs
    #[arg(long)]
    pub(crate) unsafe_limits: bool,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What is driven.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArguments {
    /// A plan: the name of one that is built in, or a file [env: PLAN_NAME] [default: concat_plan]
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["url", "cmd", "endpoint"])]
    pub(crate) plan: Option<String>,

    /// The request to the plan [default: an empty object: the defaults of the plan]
    #[arg(long, value_name = "JSON", conflicts_with_all = ["url", "cmd", "endpoint"])]
    pub(crate) input: Option<String>,

    /// Run independent nodes of a plan at the same time, or with 0 one after the other [default: 1]
    #[arg(
        long = "async", env = "ASYNC", value_name = "0|1", num_args = 0..=1, default_missing_value = "1",
        value_parser = flag
    )]
    pub(crate) is_async: Option<bool>,

    /// Run one node of a plan after the other; the same as --async=0
    #[arg(long, overrides_with = "is_async")]
    pub(crate) sync: bool,

    /// Redis for the plan, with --in native [default: this host's redis-server is started beside the plan]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) redis: Option<String>,

    /// A dump with the data for a Redis that is started beside the plan [default: the data of reels_plan_a]
    #[arg(long, value_name = "FILE", conflicts_with = "redis")]
    pub(crate) redis_data: Option<PathBuf>,

    /// An HTTP server
    #[arg(long, value_name = "URL", conflicts_with_all = ["cmd", "endpoint"])]
    pub(crate) url: Option<String>,

    /// Method of the requests [default: GET]
    #[arg(long, value_name = "METHOD", requires = "url")]
    pub(crate) method: Option<String>,

    /// A header of the requests; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "url", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,

    /// The body of the requests
    #[arg(long, value_name = "TEXT", requires = "url")]
    pub(crate) body: Option<String>,

    /// Speak HTTP/2 without negotiation
    #[arg(long, requires = "url")]
    pub(crate) http2: bool,

    /// A program with its arguments, one process for each request; with --endpoint, what a sandbox runs
    #[arg(long = "cmd", id = "cmd", value_name = "COMMAND")]
    pub(crate) command: Option<String>,

    /// A sandbox service
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// What one request to a sandbox service is [default: exec]
    #[arg(long, value_enum, requires = "endpoint")]
    pub(crate) per_request: Option<PerRequestChoice>,

    /// The bearer token that the service wants; better in VIRTMARK_TOKEN, where other users do not see it
    #[arg(long, value_name = "TOKEN", requires = "endpoint")]
    pub(crate) token: Option<String>,

    /// How the service's API is spoken, as a TOML file [default: that of virtmark serve]
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(crate) mapping: Option<PathBuf>,

    /// How the service shall start its sandboxes [default: as it is set]
    #[arg(long, value_enum, requires = "endpoint")]
    pub(crate) start: Option<StartChoice>,

    /// Put a file of this host to where the target runs, before anything runs there; may be repeated. A path without a
    /// slash at its begin is from the directory in which everything runs
    #[arg(long = "upload", value_name = "FILE=PATH", value_parser = upload, conflicts_with = "endpoint")]
    pub(crate) uploads: Vec<(PathBuf, String)>,

    /// A program with its arguments that runs beside the target for as long as the sweep
    #[arg(long, value_name = "COMMAND", conflicts_with = "endpoint")]
    pub(crate) service: Option<String>,

    /// The port on which the service listens when it is ready [default: that of a --url on loopback]
    #[arg(long, value_name = "PORT", requires = "service")]
    pub(crate) service_port: Option<u16>,
}

/// How much it is driven.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArguments {
    /// Requests at once, a level each [default: 1 2 4 8 16 32 64 128]; with --rate, the most at once [default: 128]
    #[arg(
        long, visible_alias = "concurrency-levels", env = "CONCURRENCY_LEVELS", value_name = "N,...",
        value_parser = list::<NonZeroU32>
    )]
    pub(crate) concurrency: Option<List<NonZeroU32>>,

    /// Requests each second, a level each, whether those before have ended or not; latencies count from when each was due
    #[arg(long, value_name = "PER-SECOND,...", value_parser = list::<Rate>)]
    pub(crate) rate: Option<List<Rate>>,

    /// How long each run measures; a number is in seconds [default: 10]
    #[arg(long, env = "DURATION_SEC", value_name = "TIME", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,

    /// How often each level is measured [default: 1]
    #[arg(long, env = "RUNS", value_name = "N")]
    pub(crate) runs: Option<NonZeroU32>,

    /// Requests before each run that do not count [default: 100]
    #[arg(long, env = "WARMUP_ITERS", value_name = "N")]
    pub(crate) warmup: Option<u64>,

    /// After which a run is killed, warm-up included; a number is in seconds [default: 60]
    #[arg(long, env = "TIMEOUT_SEC", value_name = "TIME", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// After which a request is given up and counts as an error [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_positive)]
    pub(crate) request_timeout: Option<Duration>,

    /// Measure levels in random order, so that nothing that drifts looks like a level
    #[arg(long)]
    pub(crate) randomise: bool,

    /// The seed of that order [default: drawn, and on record]
    #[arg(long, value_name = "N", requires = "randomise")]
    pub(crate) seed: Option<u64>,

    /// What a level has to keep, such as p99<20ms,errors<0.1%
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Option<Slo>,
}

/// Where it runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct PlaceArguments {
    /// Where target and load generator run [default: vm]
    #[arg(long = "in", id = "in", value_enum, value_name = "WHERE", conflicts_with = "endpoint")]
    pub(crate) location: Option<LocationChoice>,

    /// Virtual CPUs, the whole sweep for each size [default: 4; of sandboxes: as the service decides]
    #[arg(long, env = "VCPUS", value_name = "N,...", value_parser = list::<Vcpus>)]
    pub(crate) vcpus: Option<List<Vcpus>>,

    /// Memory [default: 512M; of sandboxes: as the service decides]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_memory)]
    pub(crate) memory: Option<u64>,

    /// Threads that calculate for a plan, or that drive a URL [default: as many as vCPUs]
    #[arg(long, value_name = "N")]
    pub(crate) cpu_threads: Option<NonZeroU32>,

    /// Threads that wait for a plan [default: 32]
    #[arg(long, value_name = "N")]
    pub(crate) io_threads: Option<NonZeroU32>,

    /// What executes guest code; auto takes KVM when a guest really runs under it
    #[arg(long, value_enum, default_value_t = Accel::Auto, conflicts_with = "endpoint")]
    pub(crate) accel: Accel,

    /// The image to boot [default: tiny]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    #[command(flatten)]
    pub(crate) kernel: KernelArguments,

    /// Added at the end of the kernel's command line; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_arguments: Vec<String>,

    /// The QEMU program [default: qemu-system-* of this architecture in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,

    /// How long a machine may take to answer
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) boot_timeout: Duration,
}

/// Where target and load generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LocationChoice {
    /// On the bare host, held to the size by a cgroup where that is permitted
    Native,
    /// In a QEMU machine of exactly the size
    Vm,
}

/// What one request to a sandbox service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PerRequestChoice {
    /// One command in a sandbox that is there
    Exec,
    /// A sandbox's whole life: create, one command, destroy
    Life,
}

impl From<PerRequestChoice> for PerRequest {
    fn from(choice: PerRequestChoice) -> Self {
        match choice {
            PerRequestChoice::Exec => Self::Exec,
            PerRequestChoice::Life => Self::Life,
        }
    }
}

/// Several values in one argument, separated by commas or spaces; at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// Requests each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(pub(crate) f64);

/// Virtual CPUs of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vcpus(pub(crate) u32);

impl FromStr for Rate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 1e9).map(Self).ok_or(())
    }
}

impl FromStr for Vcpus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|count| (1..=255).contains(count)).map(Self).ok_or(())
    }
}

fn list<T: Listed>(text: &str) -> Result<List<T>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let mut values: Vec<T> = Vec::new();
    for word in words {
        let value =
            word.parse().map_err(|_| format!("{word:?} is not {}, in a list such as 1,2,4", T::WHAT))?;
        if values.contains(&value) {
            return Err(format!("{word} is there twice; repeats are asked for with --runs"));
        }
        values.push(value);
    }
    if values.is_empty() {
        Err("the list is empty: name one number or several, such as 1,2,4".into())
    } else {
        Ok(List(values))
    }
}

/// What stands in a list.
trait Listed: FromStr + PartialEq + Clone {
    /// What one of them is.
    const WHAT: &str;
}

impl Listed for NonZeroU32 {
    const WHAT: &str = "a whole number above 0";
}

impl Listed for Rate {
    const WHAT: &str = "a number above 0 and up to 1e9";
}

impl Listed for Vcpus {
    const WHAT: &str = "a whole number from 1 to 255";
}

/// A time as everywhere, or a number of seconds, as the variables have it.
fn seconds(text: &str) -> Result<Duration, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let time = if is_plain {
        crate::duration::parse_positive(&format!("{text}s"))
    } else {
        crate::duration::parse_positive(text)
    }?;
    // Settings are kept in milliseconds.
    if time.subsec_nanos() % 1_000_000 == 0 {
        Ok(time)
    } else {
        Err(format!("{text:?} is finer than a millisecond"))
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" | "false" | "no" => Ok(false),
        "1" | "true" | "yes" => Ok(true),
        _ => Err(format!("{text:?} is neither 1 nor 0")),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err(format!("{text:?} is no header: expected a name, a colon and a value")),
    }
}

fn upload(text: &str) -> Result<(PathBuf, String), String> {
    match text.split_once('=') {
        Some((file, path)) if !file.is_empty() && !path.is_empty() => Ok((file.into(), path.into())),
        _ => Err(format!("{text:?} is not FILE=PATH, such as ./server=bin/server")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_commas_or_spaces() {
        let levels = |text: &str| {
            list::<NonZeroU32>(text).map(|list| list.0.iter().map(|n| n.get()).collect::<Vec<_>>())
        };
        assert_eq!(levels("1 2 4 8"), Ok(vec![1, 2, 4, 8]));
        assert_eq!(levels("1,2, 4"), Ok(vec![1, 2, 4]));
        for text in ["", " ", "0", "1,x", "1,1", "-1", "1.5"] {
            assert!(levels(text).is_err(), "{text:?}");
        }
        assert!(
            list::<Rate>("0.5,100").is_ok() && list::<Rate>("0").is_err() && list::<Rate>("nan").is_err()
        );
        assert!(list::<Vcpus>("2,4,6").is_ok() && list::<Vcpus>("256").is_err());
    }

    #[test]
    fn a_number_of_seconds_is_a_time_as_well() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["", "0", "ten", "1us", "."] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_and_uploads_have_two_parts() {
        assert_eq!(header("X-A: b: c"), Ok(("X-A".into(), "b: c".into())));
        assert!(header("none").is_err() && header(": x").is_err());
        assert_eq!(upload("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(upload("a").is_err() && upload("=b").is_err() && upload("a=").is_err());
    }
}
