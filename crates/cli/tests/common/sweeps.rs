//! Sweeps through the program, and what they leave.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::World;

/// Short, on the bare host. Requests have the usual time: on a busy host one may need a while.
pub const NATIVE: [&str; 9] =
    ["sweep", "--in", "native", "--vcpus", "1", "--warmup", "5", "--duration", "300ms"];

/// The columns of the guide.
pub const HEADER: &str = "ts,plan,vcpus,cpu_threads,io_threads,async,concurrency,duration_sec,run_idx,qps,p50_us,p90_us,\
                          p99_us,max_us,ru_maxrss,exit_code,timeout_killed";

impl World {
    /// The directory of the results.
    pub fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// A sweep with these arguments, with its results in this world.
    pub fn sweep(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.virtmark(arguments);
        without_variables(|name| {
            command.env_remove(name);
        });
        command.env("OUTPUT_DIR", self.results());
        command
    }

    /// The same in the background.
    pub fn spawn_sweep(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_virtmark"));
        command.args(arguments).envs(self.environment());
        without_variables(|name| {
            command.env_remove(name);
        });
        command.env("OUTPUT_DIR", self.results());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The only file of the results with this ending.
    pub fn result(&self, ending: &str) -> PathBuf {
        let found = self.result_files(ending);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    /// The files of the results with this ending.
    pub fn result_files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.results()).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
    }

    /// The rows of the only sweep in the results; none while there is none.
    pub fn rows(&self) -> Vec<Value> {
        let Some(path) = self.result_files(".jsonl").into_iter().next() else { return Vec::new() };
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// The report on standard output.
pub fn report(output: &[u8]) -> Value {
    serde_json::from_slice(output).unwrap()
}

/// What whoever runs the tests may have set.
fn without_variables(mut remove: impl FnMut(&str)) {
    for name in [
        "VCPUS",
        "PLAN_NAME",
        "DURATION_SEC",
        "RUNS",
        "WARMUP_ITERS",
        "CONCURRENCY_LEVELS",
        "ASYNC",
        "TIMEOUT_SEC",
    ] {
        remove(name);
    }
}

/// Processes of this host whose command line has these words.
pub fn processes_with(words: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).replace('\0', " ").contains(words) {
            found.push(pid);
        }
    }
    found
}
