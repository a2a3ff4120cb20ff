//! What is to be called, how often and for how long.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest time that a job may last or give a call: a day. A number beyond it is in another unit.
const MAX_TIME: Duration = Duration::from_secs(86_400);
/// More calls at once than this need more memory and descriptors than one generator should take.
const MAX_CONCURRENCY: usize = 65_536;
/// One arrival each nanosecond.
const MAX_RATE_PER_S: f64 = 1e9;

/// A measurement at one level of load, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What is called.
    pub target: TargetSpec,
    /// When it is called.
    pub arrivals: Arrivals,
    /// Calls before those that count, of all workers together.
    #[serde(default)]
    pub warmup_iterations: u64,
    /// How long calls count; also the longest time for the warm-up.
    pub duration_ns: NonZeroU64,
    /// A call that takes longer is given up, as an error of class `timeout`.
    pub request_timeout_ns: NonZeroU64,
    /// Time between two progress events.
    #[serde(default = "default_progress_interval_ns")]
    pub progress_interval_ns: NonZeroU64,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TargetSpec {
    /// A program, one process for each call.
    Command(CommandSpec),
    /// An HTTP server.
    Http(HttpSpec),
    /// A plan, run by the generator itself.
    Plan(PlanSpec),
}

/// A program. A call is done when it has ended; an exit code other than 0 is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program, by path or to be found in `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// Variables that it gets beside those of the generator.
    #[serde(default)]
    pub env: Vec<(String, String)>,
}

/// A request to an HTTP server. A call is done when the whole response is there; a status from 400 is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSpec {
    /// `http://host[:port]/path`.
    pub url: String,
    /// The protocol; HTTP/2 is spoken without negotiation.
    #[serde(default)]
    pub version: HttpVersion,
    /// The method.
    #[serde(default = "default_method")]
    pub method: String,
    /// Header fields beside those that the generator needs itself.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, sent with its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Threads, each with its share of the connections; none for as many as there are processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1, a connection for each call at once, kept alive.
    #[default]
    #[serde(rename = "1.1")]
    V1,
    /// HTTP/2, a connection for each thread, a stream for each call.
    #[serde(rename = "2")]
    V2,
}

/// A plan (`docs/plan.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// The text of its file.
    pub plan: String,
    /// Values for its parameters.
    #[serde(default = "empty_object")]
    pub request: Value,
    /// Whether nodes overlap.
    #[serde(rename = "async")]
    pub is_async: bool,
    /// How many nodes may calculate at once.
    pub cpu_threads: NonZeroUsize,
    /// How many nodes may wait at once.
    pub io_threads: NonZeroUsize,
    /// `host:port` of the Redis to read, in place of the one that the plan names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
}

/// When calls begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// A number of callers, each calling again as soon as it has its answer.
    Closed {
        /// How many.
        concurrency: NonZeroUsize,
    },
    /// Calls are due at fixed times, whether or not earlier ones have been answered. Latencies count from there.
    Open {
        /// Calls due in each second, evenly spaced.
        rate_per_s: f64,
        /// Most calls at once. One that finds no room is late, and waits.
        concurrency: NonZeroUsize,
    },
}

/// What is wrong with a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The text is no JSON, or a value has another form.
    #[error("cannot read the job: {path}: {why}")]
    Form {
        /// Where in the document: `target.url`.
        path: String,
        /// What is wrong there.
        why: String,
    },
    /// A value makes no sense.
    #[error("cannot use the job: {path}: {why}")]
    Value {
        /// Where in the document.
        path: &'static str,
        /// What is wrong, and what may be there.
        why: String,
    },
}

impl Job {
    /// Reads a job and checks its numbers. Whether the target can be used is seen when it runs.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, JobError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let job: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            JobError::Form { path: error.path().to_string(), why: error.inner().to_string() }
        })?;
        deserializer.end().map_err(|error| JobError::Form { path: ".".into(), why: error.to_string() })?;
        job.check()?;
        Ok(job)
    }

    /// Checks the numbers, as [`Job::parse`] does.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), JobError> {
        let refuse = |path, why: String| Err(JobError::Value { path, why });
        for (path, time) in [("duration_ns", self.duration()), ("request_timeout_ns", self.request_timeout())]
        {
            if time > MAX_TIME {
                return refuse(path, format!("{time:?} is longer than a day; the unit is nanoseconds"));
            }
        }
        let concurrency = self.arrivals.concurrency().get();
        if concurrency > MAX_CONCURRENCY {
            return refuse(
                "arrivals.concurrency",
                format!("{concurrency} is more than {MAX_CONCURRENCY} calls at once"),
            );
        }
        if let Arrivals::Open { rate_per_s, .. } = self.arrivals
            && !(rate_per_s > 0.0 && rate_per_s <= MAX_RATE_PER_S)
        {
            return refuse(
                "arrivals.rate_per_s",
                format!("{rate_per_s} is no rate; say a number above 0, up to {MAX_RATE_PER_S}"),
            );
        }
        if let TargetSpec::Command(command) = &self.target
            && command.argv.first().is_none_or(String::is_empty)
        {
            return refuse("target.argv", "there is no program; say [\"program\", \"argument\"]".into());
        }
        Ok(())
    }

    /// How long calls count.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration_ns.get())
    }

    /// The time limit of a call.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_nanos(self.request_timeout_ns.get())
    }
}

impl Arrivals {
    /// Most calls at once.
    pub fn concurrency(&self) -> NonZeroUsize {
        match self {
            Self::Closed { concurrency } | Self::Open { concurrency, .. } => *concurrency,
        }
    }
}

fn default_progress_interval_ns() -> NonZeroU64 {
    const { NonZeroU64::new(250_000_000).expect("it is not 0") }
}

fn default_method() -> String {
    "GET".into()
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
