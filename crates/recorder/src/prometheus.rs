//! A real Prometheus beside the recorder, scraping what the recorder exposes: what conventional monitoring would have
//! seen of the same machines.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;
use virtmark_host::process::{Child, Spawn, Stream, describe_exit};
use virtmark_host::rundir::RunDir;

/// How long it may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to answer a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "prometheus";

/// Why there is no Prometheus, or no answer from it.
#[derive(Debug, Error)]
pub enum PrometheusError {
    /// It could not be started or did not become ready.
    #[error("cannot start {PROGRAM}: {0}")]
    Start(String),
    /// It did not answer a query.
    #[error("cannot query {PROGRAM}: {0}")]
    Query(String),
    /// A file for it could not be written.
    #[error("cannot write {} for {PROGRAM}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A Prometheus on loopback with a configuration and storage of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    child: Child,
    agent: ureq::Agent,
}

impl Prometheus {
    /// Whether it is installed.
    pub fn is_installed() -> bool {
        let directories = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&directories).any(|directory| directory.join(PROGRAM).is_file())
    }

    /// Starts one that scrapes `/metrics` at `target` every `interval`, which is at least a second. Its files are in
    /// the run directory, and gone with it.
    pub fn start(run_dir: &RunDir, target: SocketAddr, interval: Duration) -> Result<Self, PrometheusError> {
        let start = |error: &dyn std::fmt::Display| PrometheusError::Start(error.to_string());
        let directory = run_dir.machine_dir(PROGRAM).map_err(|error| start(&error))?;
        let storage = run_dir.bulk_dir(PROGRAM, 64 << 20).map_err(|error| start(&error))?;
        let config = directory.join("prometheus.yml");
        let seconds = interval.as_secs().max(1);
        let text = format!(
            "global:\n  scrape_interval: {seconds}s\n  scrape_timeout: {seconds}s\nscrape_configs:\n  - job_name: \
             virtmark\n    static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(&config, text).map_err(|source| PrometheusError::Write { path: config.clone(), source })?;
        let address = free_address().map_err(|error| start(&error))?;
        let log = directory.join("log");
        let mut spawn = Spawn::new(PROGRAM, PROGRAM);
        spawn.arg(format!("--config.file={}", config.display()));
        spawn.arg(format!("--storage.tsdb.path={}", storage.display()));
        spawn.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        spawn.stdout(Stream::File(log.clone())).stderr(Stream::File(log.clone()));
        let child = spawn.start(run_dir).map_err(|error| start(&error))?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(QUERY_TIMEOUT)).build().into();
        let prometheus = Self { address, child, agent };
        let deadline = Instant::now() + READY_TIMEOUT;
        while prometheus.get("/-/ready", &[]).is_err() {
            if let Some(status) = prometheus.child.wait_timeout(Duration::from_millis(50)) {
                let words = fs::read_to_string(&log).unwrap_or_default();
                let last = words.lines().last().unwrap_or_default();
                return Err(PrometheusError::Start(format!("it {}: {last}", describe_exit(status))));
            }
            if Instant::now() >= deadline {
                return Err(PrometheusError::Start(format!("it was not ready after {READY_TIMEOUT:?}")));
            }
        }
        Ok(prometheus)
    }

    /// The raw points of every series that `selector` matches, between two moments in nanoseconds since 1970: times in
    /// nanoseconds (to the millisecond, as it stamps them) and values, in order.
    pub fn points(
        &self,
        selector: &str,
        start_ns: u64,
        end_ns: u64,
    ) -> Result<Vec<Vec<(u64, f64)>>, PrometheusError> {
        let milliseconds = end_ns.saturating_sub(start_ns).div_ceil(1_000_000).max(1);
        let query = format!("{selector}[{milliseconds}ms]");
        let time = format!("{:.3}", end_ns as f64 / 1e9);
        let text = self.get("/api/v1/query", &[("query", &query), ("time", &time)])?;
        let unexpected = || PrometheusError::Query(format!("it answered {query} with {text}"));
        let answer: Value = serde_json::from_str(&text).map_err(|_| unexpected())?;
        let series = answer["data"]["result"].as_array().ok_or_else(unexpected)?;
        series
            .iter()
            .map(|series| {
                let values = series["values"].as_array().ok_or_else(unexpected)?;
                values.iter().map(|pair| point(pair).ok_or_else(unexpected)).collect()
            })
            .collect()
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, PrometheusError> {
        let failed = |error: ureq::Error| PrometheusError::Query(error.to_string());
        let request = self.agent.get(format!("http://{}{path}", self.address));
        let request = parameters.iter().fold(request, |request, (name, value)| request.query(*name, *value));
        request.call().map_err(failed)?.body_mut().read_to_string().map_err(failed)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill_group();
        self.child.wait();
    }
}

/// A point as Prometheus writes it: seconds as a number, the value as a string.
fn point(pair: &Value) -> Option<(u64, f64)> {
    let seconds = pair.get(0)?.as_f64()?;
    let value = pair.get(1)?.as_str()?.parse().ok()?;
    Some(((seconds * 1000.0).round() as u64 * 1_000_000, value))
}

/// An address of loopback that nobody listens on now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_to_the_millisecond_and_to_the_last_bit() {
        let pair = serde_json::json!([1_795_250_330.123, "0.30000000000000004"]);
        assert_eq!(point(&pair), Some((1_795_250_330_123_000_000, 0.1 + 0.2)));
        assert_eq!(point(&serde_json::json!(["x", "1"])), None);
    }
}
