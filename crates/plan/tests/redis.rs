//! Reads from a real Redis: what it has, what it lacks, and what happens when it goes away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_plan::{
    BenchOptions, Executor, ExecutorOptions, FailureClass, Plan, RedisOptions, Scheduler, bench, reels,
};

/// A Redis of one test, on a free port of the loopback, which keeps nothing on disk and dies with the test.
struct Redis {
    process: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Redis {
    /// None, with the reason printed, where there is no Redis to start.
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // Free when it was asked for; the server says so when it is not any more.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = match spawn(directory.path(), address) {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: redis-server is not installed (apt-get install redis-server)");
                return None;
            }
            Err(error) => panic!("cannot start redis-server: {error}"),
        };
        let redis = Self { process, address, directory };
        redis.wait();
        Some(redis)
    }

    /// Another server at the same address, without data.
    fn again(&mut self) {
        self.process = spawn(self.directory.path(), self.address).unwrap();
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.command("PING") != "+PONG\r\n" {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn options(&self) -> RedisOptions {
        RedisOptions { address: self.address.to_string(), timeout: Duration::from_secs(5) }
    }

    /// The beginning of the answer to a command without spaces in its words; nothing when nobody answers.
    fn command(&self, line: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return String::new() };
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 256];
        let length = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(directory: &Path, address: SocketAddr) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
}

fn executor(plan: Plan, redis: RedisOptions, scheduler: Scheduler) -> Executor {
    let options = ExecutorOptions {
        scheduler,
        cpu_threads: NonZeroUsize::new(2).unwrap(),
        io_threads: NonZeroUsize::new(4).unwrap(),
        redis: Some(redis),
    };
    Executor::new(Arc::new(plan), &options).unwrap()
}

fn call(executor: &Executor, request: &Value) -> Result<Vec<Value>, FailureClass> {
    let request = executor.plan().request(request).unwrap();
    let batch = executor.call(&request).map_err(|error| error.class())?;
    Ok(batch.to_json(executor.plan().schema()))
}

#[test]
fn reels_gives_a_page_of_organic_media_by_score() {
    let Some(redis) = Redis::start() else { return };
    let seeded = reels::seed(&redis.options()).unwrap();
    assert_eq!(redis.command("DBSIZE"), format!(":{}\r\n", seeded.keys));
    // Again is the same.
    assert_eq!(reels::seed(&redis.options()).unwrap(), seeded);
    assert_eq!(redis.command("DBSIZE"), format!(":{}\r\n", seeded.keys));
    let plan = || Plan::builtin("reels_plan_a").unwrap();
    let executors =
        [Scheduler::Async, Scheduler::Sync].map(|scheduler| executor(plan(), redis.options(), scheduler));
    for user_id in [1, 500, reels::USERS] {
        let pages =
            executors.each_ref().map(|executor| call(executor, &json!({"user_id": user_id})).unwrap());
        assert_eq!(pages[0], pages[1]);
        assert_eq!(pages[0].len(), 10);
        let scores: Vec<f64> = pages[0].iter().map(|row| row["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        for row in &pages[0] {
            assert!(!row["caption"].as_str().unwrap().contains("#ad"), "{row}");
            let of = |field: &str| row[field].as_f64().unwrap();
            assert_eq!(of("score"), 1.0 + -0.05 * of("age_hours") + 0.001 * of("likes"));
            let key = format!("HGET {}media:{} likes", reels::KEY_PREFIX, row["media_id"]);
            assert!(redis.command(&key).ends_with(&format!("\r\n{}\r\n", row["likes"])), "{key}");
        }
    }
    // Whom Redis does not know follows nobody, and gets what is popular.
    let page = call(&executors[0], &json!({"user_id": 0})).unwrap();
    assert!(
        page.len() == 10 && page.iter().all(|row| row["media_id"].as_i64().unwrap() >= 20_100),
        "{page:?}"
    );
}

#[test]
fn every_command_reads_what_is_there_and_leaves_out_what_is_not() {
    let Some(redis) = Redis::start() else { return };
    for line in
        ["SET a:1 1.5", "SET a:3 -2", "SADD set x", "HSET h:1 n 7 t seven", "HSET h:2 n 8", "RPUSH l:1 5 6 7"]
    {
        redis.command(line);
    }
    let rows = |read: Value| {
        let mut read = read;
        read["op"] = "redis_read".into();
        read["inputs"] = json!(["rows"]);
        let file = json!({"plan": "reads", "output": "read", "nodes": {
            "rows": {"op": "source", "columns": [["id", "int"]], "rows": [[1], [2], [3]]}, "read": read}});
        let plan = Plan::parse(&file.to_string()).unwrap();
        call(&executor(plan, redis.options(), Scheduler::Async), &json!({}))
    };
    let get = json!({"command": "get", "key": "a:{id}", "column": "value", "type": "float"});
    assert_eq!(rows(get).unwrap(), [json!({"id": 1, "value": 1.5}), json!({"id": 3, "value": -2.0})]);
    let hmget = json!({"command": "hmget", "key": "h:{id}", "fields": [["n", "int"], ["t", "text"]]});
    assert_eq!(rows(hmget).unwrap(), [json!({"id": 1, "n": 7, "t": "seven"})]);
    let lrange =
        json!({"command": "lrange", "key": "l:{id}", "column": "n", "type": "int", "limit": 2, "keep": []});
    assert_eq!(rows(lrange).unwrap(), [json!({"n": 5}), json!({"n": 6})]);
    let smembers = json!({"command": "smembers", "key": "set", "column": "m", "type": "text"});
    assert_eq!(rows(smembers).unwrap(), [1, 2, 3].map(|id| json!({"id": id, "m": "x"})));
    let wrong = json!({"command": "get", "key": "set", "column": "value", "type": "text"});
    assert_eq!(rows(wrong).unwrap_err(), FailureClass::RedisRefused);
    let not_a_number = json!({"command": "smembers", "key": "set", "column": "m", "type": "int"});
    assert_eq!(rows(not_a_number).unwrap_err(), FailureClass::RedisData);
}

/// Calls go on while Redis dies: what succeeded has a latency, what failed is counted, and all calls end.
#[test]
fn a_redis_that_dies_in_the_middle_is_counted_and_comes_back() {
    for scheduler in [Scheduler::Async, Scheduler::Sync] {
        let Some(mut redis) = Redis::start() else { return };
        reels::seed(&redis.options()).unwrap();
        let executor = executor(Plan::builtin("reels_plan_a").unwrap(), redis.options(), scheduler);
        let requests = [executor.plan().request_from_text("")];
        let options = BenchOptions {
            iterations: u64::MAX.try_into().unwrap(),
            concurrency: NonZeroUsize::new(3).unwrap(),
            warmup: 0,
        };
        let stop = AtomicBool::new(false);
        let measured = thread::scope(|scope| {
            let bench = scope.spawn(|| bench(&executor, &requests, &options, &stop));
            thread::sleep(Duration::from_millis(300));
            redis.kill();
            thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
            bench.join().unwrap()
        });
        assert!(!measured.latencies_ns.is_empty());
        assert!(measured.failures[&FailureClass::RedisLost] >= 1, "{:?}", measured.failures);
        assert!(measured.failures[&FailureClass::RedisUnreachable] >= 1, "{:?}", measured.failures);
        assert_eq!(measured.failures.len(), 2, "{:?}", measured.failures);
        let report = measured.report(&executor, &options);
        assert_eq!(report.iterations, report.succeeded + report.failed);
        redis.again();
        reels::seed(&redis.options()).unwrap();
        assert_eq!(call(&executor, &json!({})).unwrap().len(), 10);
        let told = &measured.messages[&FailureClass::RedisUnreachable];
        assert!(told.contains(&format!("cannot connect to Redis at {}", redis.address)), "{told}");
    }
}

/// A listener that is no Redis.
fn listener(serve: impl FnOnce(TcpStream) + Send + 'static) -> RedisOptions {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    RedisOptions { address, ..RedisOptions::default() }
}

fn failure(redis: RedisOptions) -> (FailureClass, String) {
    let plan = Plan::builtin("reels_plan_a").unwrap();
    let executor = executor(plan, redis, Scheduler::Sync);
    let request = executor.plan().request_from_text("").unwrap();
    let error = executor.call(&request).unwrap_err();
    (error.class(), error.to_string())
}

#[test]
fn an_absent_redis_is_told_with_its_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (class, told) = failure(RedisOptions { address: address.clone(), ..RedisOptions::default() });
    assert_eq!(class, FailureClass::RedisUnreachable);
    assert!(
        told.starts_with(&format!("node \"follows\" failed: cannot connect to Redis at {address}: ")),
        "{told}"
    );
    let (class, _) = failure(RedisOptions { address: "no port".into(), ..RedisOptions::default() });
    assert_eq!(class, FailureClass::RedisUnreachable);
}

#[test]
fn a_server_that_hangs_or_speaks_otherwise_is_told_apart() {
    let silent = listener(|stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let silent = RedisOptions { timeout: Duration::from_millis(200), ..silent };
    let started = Instant::now();
    assert_eq!(failure(silent).0, FailureClass::RedisTimeout);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let web = listener(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_eq!(failure(web).0, FailureClass::RedisProtocol);
    let leaving = listener(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
    });
    assert_eq!(failure(leaving).0, FailureClass::RedisLost);
}
