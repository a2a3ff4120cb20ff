//! The generators that are compared, each as a program, so that all are charged in the same way.

use std::error::Error;
use std::io::Write;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::{Value, json};
use virtmark_load::{Event, Outcome};

/// One round of one generator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) tool: &'static str,
    /// Answers with status 200.
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
    /// Of the generator alone, user and system.
    pub(crate) cpu_s: f64,
    pub(crate) requests_per_cpu_s: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    program: PathBuf,
}

pub(crate) fn ours() -> Result<Tool, Box<dyn Error>> {
    // Beside this program: target/release/examples/bench_load.
    let this = std::env::current_exe()?;
    let release = this.ancestors().nth(2).ok_or("this program is not in Cargo's target directory")?;
    let program = release.join("virtmark-load");
    if !program.exists() {
        return Err(
            format!("there is no {}; build it first (make bench-load does)", program.display()).into()
        );
    }
    Ok(Tool { name: "virtmark-load", program })
}

/// A peer by its name, in `PATH` or where `make bench-load` installs it; or why it is not there.
pub(crate) fn peer(name: &'static str) -> Result<Tool, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain([Path::new("target/tools/bin").to_path_buf()]);
    let found = directories.map(|directory| directory.join(name)).find(|program| program.is_file());
    found.map(|program| Tool { name, program }).ok_or_else(|| format!("{name} is not installed"))
}

impl Tool {
    /// Calls the URL for so many seconds over so many connections, from one thread.
    pub(crate) fn round(&self, url: &str, connections: u32, seconds: u32) -> Result<Round, Box<dyn Error>> {
        let before_s = children_cpu_s();
        let requests = match self.name {
            "wrk" => {
                let mut wrk = Command::new(&self.program);
                wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), url]);
                wrk_requests(&output(&mut wrk)?)?
            }
            "oha" => {
                let mut oha = Command::new(&self.program);
                oha.args(["--no-tui", "--output-format", "json", "-z", &format!("{seconds}s")])
                    .args(["-c", &connections.to_string(), url])
                    .env("TOKIO_WORKER_THREADS", "1");
                let report: Value = serde_json::from_str(&output(&mut oha)?)?;
                report["statusCodeDistribution"]["200"]
                    .as_u64()
                    .ok_or("oha reports no answers with status 200")?
            }
            _ => self.outcome(url, connections, seconds)?.completed,
        };
        let cpu_s = children_cpu_s() - before_s;
        Ok(Round {
            tool: self.name,
            requests,
            requests_per_s: requests as f64 / f64::from(seconds),
            cpu_s,
            requests_per_cpu_s: requests as f64 / cpu_s,
        })
    }

    /// Our own generator's outcome.
    pub(crate) fn outcome(
        &self,
        url: &str,
        connections: u32,
        seconds: u32,
    ) -> Result<Outcome, Box<dyn Error>> {
        self.job(&json!({"kind": "http", "url": url, "threads": 1}), connections, seconds)
    }

    pub(crate) fn job(
        &self,
        target: &Value,
        concurrency: u32,
        seconds: u32,
    ) -> Result<Outcome, Box<dyn Error>> {
        let job = json!({
            "target": target,
            "arrivals": {"kind": "closed", "concurrency": concurrency},
            "duration_ns": u64::from(seconds) * 1_000_000_000,
            "request_timeout_ns": 2_000_000_000_u64,
        });
        let mut program = Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        // Open until the end, which would end the run.
        let mut stdin = program.stdin.take().ok_or("the program has no standard input")?;
        writeln!(stdin, "{job}")?;
        let output = program.wait_with_output()?;
        drop(stdin);
        let text = String::from_utf8(output.stdout)?;
        match serde_json::from_str(text.lines().last().unwrap_or_default())? {
            Event::Outcome(outcome) if outcome.failed() == 0 => Ok(*outcome),
            other => Err(format!("{} failed: {other:?}", self.program.display()).into()),
        }
    }
}

fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `  301023 requests in 3.00s, 40.19MB read`; errors have lines of their own, which must not be there.
fn wrk_requests(report: &str) -> Result<u64, Box<dyn Error>> {
    if report.contains("Non-2xx") || report.contains("Socket errors") {
        return Err(format!("wrk met errors: {report}").into());
    }
    let line = report.lines().find(|line| line.contains(" requests in ")).ok_or("wrk reports no requests")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Of all children that have ended.
#[allow(unsafe_code)]
fn children_cpu_s() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole rusage; all-zero bytes are a valid one, should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
