//! HTTP servers as targets: those that answer, and those that refuse, hang, lie or end in the middle.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use virtmark_load::{Cancel, Job, Outcome, RunError, run};

/// What a server does with a request: its head, its body. `false` ends the connection.
type Answer = dyn Fn(&str, &[u8], &mut TcpStream) -> bool + Send + Sync;

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// A thread for each connection; it ends with the test.
fn serve(answer: impl Fn(&str, &[u8], &mut TcpStream) -> bool + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn({
        let connections = Arc::clone(&connections);
        move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                thread::spawn(move || converse(stream.unwrap(), &*answer));
            }
        }
    });
    Server { address, connections }
}

fn converse(mut stream: TcpStream, answer: &Answer) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if reader.read_exact(&mut body).is_err() || !answer(&head, &body, &mut stream) {
            return;
        }
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn job(url: &str, concurrency: usize, more: Value) -> Job {
    let mut target = json!({"kind": "http", "url": url});
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = json!({
        "target": target,
        "arrivals": {"kind": "closed", "concurrency": concurrency},
        "duration_ns": 300_000_000,
        "request_timeout_ns": 10_000_000_000_u64,
    });
    Job::parse(&job.to_string()).unwrap()
}

fn call(server: &Server, more: Value) -> Outcome {
    run(&job(&format!("http://{}/x", server.address), 4, more), &mut |_| {}, &Cancel::new()).unwrap()
}

fn classes(outcome: &Outcome) -> Vec<&str> {
    outcome.errors.keys().map(String::as_str).collect()
}

#[test]
fn connections_are_kept_and_no_more_than_the_concurrency() {
    let server = serve(|_, _, stream| stream.write_all(OK).is_ok());
    let outcome = call(&server, json!({}));
    assert!(outcome.completed > 5 && outcome.failed() == 0, "{outcome:?}");
    assert!(outcome.cut_off <= 4);
    assert_eq!(server.connections.load(Ordering::Relaxed), 4);
    assert_eq!(outcome.overhead_ns_per_call, None);
}

#[test]
fn requests_arrive_as_the_job_says() {
    let server = serve(|head, body, stream| {
        let expected = "PUT /x HTTP/1.1\r\nhost: other\r\nx-a: b\r\ncontent-length: 300000\r\nuser-agent: ";
        let is_right = head.starts_with(expected) && body == [b'z'; 300_000];
        stream.write_all(if is_right { OK } else { b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n" }).is_ok()
    });
    let more = json!({
        "method": "PUT",
        "headers": [["Host", "other"], ["X-A", "b"]],
        "body": "z".repeat(300_000),
    });
    let outcome = call(&server, more);
    assert!(outcome.completed > 2 && outcome.failed() == 0, "{outcome:?}");
}

#[test]
fn answers_come_in_pieces_and_chunks() {
    let server = serve(|_, _, stream| {
        let all = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
        all.chunks(13).all(|piece| {
            thread::sleep(Duration::from_micros(200));
            stream.write_all(piece).is_ok()
        })
    });
    let outcome = call(&server, json!({}));
    assert!(outcome.completed > 5 && outcome.failed() == 0, "{outcome:?}");
    assert!(outcome.latency.min_ns().unwrap() > 1_000_000);
    assert_eq!(server.connections.load(Ordering::Relaxed), 4);
}

#[test]
fn a_server_that_ends_each_connection_is_connected_to_again() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ] {
        let server = serve(move |_, _, stream| {
            let _ = stream.write_all(answer);
            false
        });
        let outcome = call(&server, json!({}));
        assert!(outcome.completed > 5 && outcome.failed() == 0, "{outcome:?}");
        assert!(server.connections.load(Ordering::Relaxed) as u64 >= outcome.completed);
    }
}

#[test]
fn statuses_from_400_are_errors() {
    let count = AtomicUsize::new(0);
    let server = serve(move |_, _, stream| {
        let status = [200, 302, 404, 503][count.fetch_add(1, Ordering::Relaxed) % 4];
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").is_ok()
    });
    let outcome = call(&server, json!({}));
    assert_eq!(classes(&outcome), ["http_4xx", "http_5xx"]);
    assert!(outcome.errors["http_4xx"].message.contains("404"));
    assert!(outcome.completed.abs_diff(outcome.failed()) <= 10);
}

#[test]
fn a_refused_connection_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for version in ["1.1", "2"] {
        let target = job(&format!("http://{address}/"), 3, json!({"version": version}));
        let outcome = run(&target, &mut |_| {}, &Cancel::new()).unwrap();
        assert_eq!((outcome.completed, classes(&outcome)), (0, vec!["refused"]));
        assert!(outcome.errors["refused"].message.contains(&address.to_string()));
    }
}

#[test]
fn a_server_that_hangs_is_given_up() {
    // Accepts by its backlog, and never reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    for version in ["1.1", "2"] {
        let mut job = job(&url, 4, json!({"version": version}));
        job.request_timeout_ns = 100_000_000.try_into().unwrap();
        let outcome = run(&job, &mut |_| {}, &Cancel::new()).unwrap();
        assert_eq!((outcome.completed, classes(&outcome)), (0, vec!["timeout"]));
        // At most twice each within the time; then the rest is cut off.
        assert!((4..=8).contains(&outcome.failed()) && outcome.cut_off <= 4, "{outcome:?}");
    }
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (answer, class) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], "malformed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "lost"),
        (b"", "lost"),
    ] {
        let server = serve(move |_, _, stream| {
            let _ = stream.write_all(answer);
            false
        });
        let outcome = call(&server, json!({}));
        assert_eq!((outcome.completed, classes(&outcome)), (0, vec![class]), "{outcome:?}");
    }
}

#[test]
fn an_open_loop_of_http_is_timed_from_when_calls_are_due() {
    let count = AtomicUsize::new(0);
    let server = serve(move |_, _, stream| {
        if count.fetch_add(1, Ordering::Relaxed) == 50 {
            thread::sleep(Duration::from_millis(500));
        }
        stream.write_all(OK).is_ok()
    });
    let mut job = job(&format!("http://{}/", server.address), 1, json!({}));
    job.arrivals =
        serde_json::from_value(json!({"kind": "open", "rate_per_s": 200, "concurrency": 1})).unwrap();
    job.duration_ns = 1_500_000_000.try_into().unwrap();
    job.request_timeout_ns = 5_000_000_000.try_into().unwrap();
    let outcome = run(&job, &mut |_| {}, &Cancel::new()).unwrap();
    let figures = outcome.open.as_ref().unwrap();
    assert_eq!((figures.due, outcome.failed()), (300, 0));
    assert_eq!(outcome.completed + outcome.cut_off + figures.dropped, 300);
    assert!(figures.late >= 90, "{}", figures.late);
    // A third of all calls were due in the stall.
    assert!(outcome.latency.percentile_ns(90.0).unwrap() > 250_000_000);
    assert!(outcome.latency.percentile_ns(10.0).unwrap() < 100_000_000);
    assert!(figures.lag.percentile_ns(50.0).unwrap() < 50_000_000, "{:?}", figures.lag);
}

#[test]
fn what_cannot_be_called_is_told_before_anything_is_measured() {
    for (url, more, told) in [
        ("https://127.0.0.1/", json!({}), "TLS is not spoken here"),
        ("127.0.0.1:80", json!({}), "it is no URL"),
        ("http://127.0.0.1/", json!({"method": "G T"}), "method"),
        ("http://127.0.0.1/", json!({"headers": [["a", "b\r\nc: d"]]}), "header field"),
        ("http://name.invalid/", json!({}), "cannot find the address"),
    ] {
        match run(&job(url, 1, more), &mut |_| {}, &Cancel::new()) {
            Err(RunError::Target(failure)) => assert!(failure.message.contains(told), "{failure}"),
            other => panic!("{other:?}"),
        }
    }
}
