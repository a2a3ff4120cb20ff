//! A real Prometheus on a free loopback port, gone when the test ends.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test crate uses part of this, and fails where it cannot go on"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use virtmark_host::process::{Child, Spawn, Stream};
use virtmark_host::rundir::{Roots, RunDir};

/// The program, or the reason why the test is skipped, which is printed.
pub(crate) fn installed() -> bool {
    let found =
        Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        println!("skipped: there is no prometheus here; install it with: apt-get install prometheus");
    }
    found.is_ok()
}

pub(crate) struct Prometheus {
    child: Option<Child>,
    run_dir: RunDir,
    directory: tempfile::TempDir,
    port: u16,
}

impl Prometheus {
    /// Starts one with an empty store and this configuration, and waits until it is ready.
    pub(crate) fn start(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let roots = Roots::new(directory.path().join("run"), [directory.path().join("bulk")]);
        let mut prometheus =
            Self { child: None, run_dir: RunDir::create_in(roots).unwrap(), directory, port };
        prometheus.restart();
        prometheus
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the store that it left.
    pub(crate) fn restart(&mut self) {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let mut spawn = Spawn::new("prometheus", "prometheus");
        spawn
            .arg(format!("--config.file={}", at("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", at("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--web.enable-remote-write-receiver")
            .stderr(Stream::File(at("log").into()));
        self.child = Some(spawn.start(&self.run_dir).unwrap());
        let until = Instant::now() + Duration::from_secs(60);
        while self.get("/-/ready").is_none() {
            assert!(Instant::now() < until, "not ready: {}", fs::read_to_string(at("log")).unwrap());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL, to the process that was started and no other.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            child.kill();
            child.wait();
        }
    }

    /// Every sample that it holds of a selector, as it holds them: labels with values, milliseconds, bits.
    pub(crate) fn raw(
        &self,
        selector: &str,
        end_seconds: u64,
    ) -> BTreeMap<BTreeMap<String, String>, Vec<(i64, u64)>> {
        let query = format!("{selector}[1h]");
        let path = format!("/api/v1/query?query={}&time={end_seconds}", encoded(&query));
        self.series(&path)
    }

    /// `query_range` at steps of a second.
    pub(crate) fn range(
        &self,
        selector: &str,
        (start, end): (u64, u64),
    ) -> BTreeMap<BTreeMap<String, String>, Vec<(i64, u64)>> {
        let query = encoded(selector);
        self.series(&format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=1"))
    }

    fn series(&self, path: &str) -> BTreeMap<BTreeMap<String, String>, Vec<(i64, u64)>> {
        let answer: Value = serde_json::from_str(&self.get(path).unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let mut all = BTreeMap::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let labels = series["metric"].as_object().unwrap();
            let labels = labels.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
            let sample = |pair: &Value| {
                let value: f64 = pair[1].as_str().unwrap().parse().unwrap();
                ((pair[0].as_f64().unwrap() * 1e3).round() as i64, value.to_bits())
            };
            let samples = series["values"].as_array().unwrap().iter().map(sample).collect();
            assert!(all.insert(labels.collect(), samples).is_none(), "one series twice");
        }
        all
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut response = ureq::get(format!("http://127.0.0.1:{}{path}", self.port))
            .config()
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .call()
            .ok()?;
        response.body_mut().with_config().limit(64 << 20).read_to_string().ok()
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
