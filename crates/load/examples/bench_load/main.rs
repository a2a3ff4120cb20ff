//! Compares the generator with wrk and oha: requests for each CPU second of the generator, alternating on one server in
//! one run; latency percentiles against that server's own log; and what a plan call costs beside the plan.
//!
//! `make bench-load`; JSON on standard output, exit code 1 when a target is missed. A peer that is not installed is
//! skipped, with the reason.

mod server;
mod tools;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};

use serde_json::{Value, json};
use virtmark_stats::{percentile, ratio_of_medians};

use crate::tools::{Round, Tool};

const CONNECTIONS: u32 = 64;
const SECONDS: u32 = 2;
/// Rounds when the command line does not say how many.
const ROUNDS: usize = 7;
/// At few connections, so that answers do not wait for each other where the server's log cannot see it.
const LOG_CONNECTIONS: u32 = 16;
const LOG_ROUNDS: usize = 5;
const LOG_PERCENTILES: [f64; 3] = [50.0, 90.0, 99.0];
/// Peers, and how many of their requests for each CPU second ours must reach.
const PEERS: [(&str, f64); 2] = [("oha", 1.0), ("wrk", 0.5)];
const MAX_LOG_DIFFERENCE: f64 = 0.05;
const MAX_OVERHEAD_NS: f64 = 1000.0;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        server::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let rounds = argument.map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let server = Served::start()?;
    let report = measure(&server.address, rounds)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    let missed = report["targets"].as_array().into_iter().flatten().any(|target| target["met"] != true);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The server in a process of its own; it ends with this.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut process =
            Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().ok_or("the server has no output")?).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().into() })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(address: &str, rounds: usize) -> Result<Value, Box<dyn Error>> {
    let ours = tools::ours()?;
    let mut tools = vec![ours.clone()];
    let mut skipped = Vec::new();
    for (name, _) in PEERS {
        match tools::peer(name) {
            Ok(tool) => tools.push(tool),
            Err(reason) => skipped.push(json!({"peer": name, "reason": reason})),
        }
    }
    let url = format!("http://{address}/");
    let mut all = Vec::new();
    for round in 0..rounds {
        for index in 0..tools.len() {
            // Another one begins each round.
            let tool = &tools[(index + round) % tools.len()];
            let one = tool.round(&url, CONNECTIONS, SECONDS)?;
            eprintln!("{}: {:.0} requests for each CPU second", one.tool, one.requests_per_cpu_s);
            all.push(one);
        }
    }
    let mut targets = Vec::new();
    for (name, at_least) in PEERS {
        let of_peer = rates(&all, name);
        if of_peer.is_empty() {
            continue;
        }
        let ratio = ratio_of_medians(&rates(&all, ours.name), &of_peer, 0.95)?;
        targets.push(json!({
            "what": format!("requests for each CPU second, in those of {name}"),
            "at_least": at_least,
            "measured": ratio,
            "met": ratio.point >= at_least,
        }));
    }
    targets.push(log_agrees(&ours, address)?);
    targets.push(overhead(&ours)?);
    Ok(json!({
        "connections": CONNECTIONS,
        "seconds": SECONDS,
        "threads": 1,
        "rounds": all,
        "skipped_peers": skipped.len(),
        "skipped": skipped,
        "targets": targets,
    }))
}

fn rates(rounds: &[Round], tool: &str) -> Vec<f64> {
    rounds.iter().filter(|round| round.tool == tool).map(|round| round.requests_per_cpu_s).collect()
}

/// The same calls, once as the generator saw them and once as the server did: the median difference of several rounds.
fn log_agrees(ours: &Tool, address: &str) -> Result<Value, Box<dyn Error>> {
    let url = format!("http://{address}/delay");
    let mut differences = LOG_PERCENTILES.map(|_| Vec::new());
    for _ in 0..LOG_ROUNDS {
        log_of(address)?;
        let outcome = ours.outcome(&url, LOG_CONNECTIONS, SECONDS)?;
        let log = log_of(address)?;
        for (p, differences) in LOG_PERCENTILES.into_iter().zip(&mut differences) {
            let generator_ns = outcome.latency.percentile_ns(p).ok_or("no call succeeded")?;
            differences.push(generator_ns as f64 / percentile(&log, p)?.value - 1.0);
        }
    }
    let medians = differences.iter().map(|differences| Ok(percentile(differences, 50.0)?.value));
    let medians = medians.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let largest = medians.iter().fold(0.0_f64, |largest, median| largest.max(median.abs()));
    let percentiles = LOG_PERCENTILES.iter().zip(&medians).zip(&differences);
    Ok(json!({
        "what": "latency percentiles above the server's own log, as a part of it",
        "percentiles": percentiles
            .map(|((p, median), rounds)| json!({"p": p, "median": median, "rounds": rounds}))
            .collect::<Vec<_>>(),
        "at_most": MAX_LOG_DIFFERENCE,
        "measured": largest,
        "met": largest <= MAX_LOG_DIFFERENCE,
    }))
}

fn log_of(address: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /log HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, log) = answer.split_once("\r\n\r\n").ok_or("the server has no log")?;
    Ok(log.lines().map(str::parse).collect::<Result<_, _>>()?)
}

/// What the generator adds to a call of a plan.
fn overhead(ours: &Tool) -> Result<Value, Box<dyn Error>> {
    let plan = r#"{"plan": "one", "output": "rows", "nodes": {
        "rows": {"op": "source", "columns": [["id", "int"]], "rows": [[1]]}}}"#;
    let target = json!({"kind": "plan", "plan": plan, "async": true, "cpu_threads": 1, "io_threads": 1});
    let outcome = ours.job(&target, 1, 1)?;
    let overhead_ns = outcome.overhead_ns_per_call.ok_or("the overhead was not measured")?;
    Ok(json!({
        "what": "nanoseconds of the generator for each call of a plan",
        "calls_per_s": outcome.throughput_per_s(),
        "p50_ns": outcome.latency.percentile_ns(50.0),
        "at_most": MAX_OVERHEAD_NS,
        "measured": overhead_ns,
        "met": overhead_ns <= MAX_OVERHEAD_NS,
    }))
}
