//! Plans as targets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_load::{Cancel, Job, Outcome, RunError, run};

const SLEEPS: &str = r#"{"plan": "p", "output": "a", "nodes": {"a": {"op": "sleep", "duration_ms": 20}}}"#;
const READS: &str = r#"{"plan": "p", "output": "a", "nodes": {
    "a": {"op": "redis_read", "command": "get", "key": "k", "column": "v", "type": "text"}}}"#;

fn job(plan: &str, duration_ms: u64, more: Value) -> Job {
    let mut target = json!({"kind": "plan", "plan": plan, "async": true, "cpu_threads": 2, "io_threads": 2});
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = json!({
        "target": target,
        "arrivals": {"kind": "closed", "concurrency": 2},
        "duration_ns": duration_ms * 1_000_000,
        "request_timeout_ns": 5_000_000_000_u64,
    });
    Job::parse(&job.to_string()).unwrap()
}

fn call(plan: &str, duration_ms: u64, more: Value) -> Result<Outcome, RunError> {
    run(&job(plan, duration_ms, more), &mut |_| {}, &Cancel::new())
}

#[test]
fn a_plan_is_called() {
    let outcome = call(SLEEPS, 500, json!({})).unwrap();
    assert!(outcome.completed > 2 && outcome.failed() == 0, "{outcome:?}");
    assert!(outcome.latency.min_ns().unwrap() >= 20_000_000);
}

#[test]
fn a_plan_that_outlasts_the_level_is_left_behind() {
    let started = Instant::now();
    let outcome = call(&SLEEPS.replace("20}", "60000}"), 200, json!({})).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((outcome.completed, outcome.cut_off, outcome.stuck), (0, 2, 2));
}

#[test]
fn a_broken_plan_or_request_is_told_with_its_place() {
    for (plan, more, told) in [
        (SLEEPS.replace("\"output\": \"a\"", "\"output\": \"b\""), json!({}), "there is no node"),
        (SLEEPS.into(), json!({"request": {"user": 1}}), "the plan has no parameter \"user\""),
    ] {
        match call(&plan, 100, more) {
            Err(RunError::Target(failure)) => assert!(failure.message.contains(told), "{failure}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Answers every command with a value, until it is told to end all connections and to refuse others.
#[test]
fn a_redis_that_dies_in_the_middle_is_errors_from_then_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dies = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let server = thread::spawn({
        let (dies, accepted) = (Arc::clone(&dies), Arc::clone(&accepted));
        move || {
            for stream in listener.incoming() {
                if dies.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                accepted.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    // `*2 $3 GET $1 k`: the key is the fifth line.
                    for line in lines.map_while(Result::ok) {
                        if line == "k" && stream.write_all(b"$2\r\nok\r\n").is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    let mut died = false;
    let mut on_progress = |progress: virtmark_load::Progress| {
        if progress.completed > 0 && !died {
            died = true;
            dies.store(true, Ordering::SeqCst);
            // Wakes the server up, which then goes and takes its port with it.
            drop(std::net::TcpStream::connect(&address));
            for stream in accepted.lock().unwrap().drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    };
    let mut job = job(READS, 2000, json!({"redis": address}));
    job.progress_interval_ns = 50_000_000.try_into().unwrap();
    let outcome = run(&job, &mut on_progress, &Cancel::new()).unwrap();
    server.join().unwrap();
    assert!(outcome.completed > 0, "{outcome:?}");
    assert!(outcome.errors["redis_unreachable"].count > 0, "{outcome:?}");
    assert!(outcome.errors["redis_unreachable"].message.contains(&address), "{outcome:?}");
    assert_eq!(outcome.latency.count(), outcome.completed);
}
