//! HTTP/2, with a server that is not ours, and with bytes that no server should send.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use virtmark_load::{Cancel, Job, Outcome, run};

/// What the server was asked.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    most_at_once: AtomicUsize,
    now: AtomicUsize,
    requests: AtomicUsize,
}

/// A server on a thread of its own; it ends with the test.
fn serve(max_streams: u32) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.connections.fetch_add(1, Ordering::Relaxed);
                    let seen = Arc::clone(&seen);
                    let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
                    let mut builder = Builder::new(TokioExecutor::new());
                    // A small window makes bodies come in several pieces.
                    builder.max_concurrent_streams(max_streams).initial_stream_window_size(20_000);
                    tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
                }
            });
        }
    });
    (address, seen)
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Whole>, Infallible> {
    let number = seen.requests.fetch_add(1, Ordering::Relaxed);
    let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_at_once.fetch_max(now, Ordering::SeqCst);
    let is_marked = request.headers().get("x-a").is_some_and(|value| value == "b");
    let path = request.uri().path().to_owned();
    let body = read(request.into_body()).await;
    let (status, answer) = match path.as_str() {
        "/echo" if is_marked && !body.is_empty() => (200, body.into()),
        "/large" => (200, Bytes::from(vec![b'x'; 100_000])),
        "/mixed" => ([200, 418, 503][number % 3], Bytes::new()),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            (204, Bytes::new())
        }
        "/hang" => std::future::pending().await,
        _ => (400, Bytes::new()),
    };
    seen.now.fetch_sub(1, Ordering::SeqCst);
    Ok(Response::builder().status(status).body(Whole(Some(answer))).unwrap())
}

/// A body in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn read(body: Incoming) -> Vec<u8> {
    let mut body = pin!(body);
    let mut all = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        all.extend(frame.into_data().unwrap_or_default());
    }
    all
}

fn call(address: SocketAddr, path: &str, concurrency: usize, more: Value) -> Outcome {
    let mut target =
        json!({"kind": "http", "url": format!("http://{address}{path}"), "version": "2", "threads": 1});
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = json!({
        "target": target,
        "arrivals": {"kind": "closed", "concurrency": concurrency},
        "duration_ns": 400_000_000,
        "request_timeout_ns": if path == "/hang" { 150_000_000 } else { 5_000_000_000_u64 },
    });
    run(&Job::parse(&job.to_string()).unwrap(), &mut |_| {}, &Cancel::new()).unwrap()
}

#[test]
fn calls_share_a_connection() {
    let (address, seen) = serve(100);
    let outcome = call(address, "/slow", 16, json!({}));
    assert!(outcome.failed() == 0 && outcome.completed >= 16, "{outcome:?}");
    assert!(outcome.latency.min_ns().unwrap() >= 20_000_000);
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    assert_eq!(seen.most_at_once.load(Ordering::Relaxed), 16);
}

#[test]
fn no_more_streams_are_opened_than_the_server_allows() {
    let (address, seen) = serve(3);
    let outcome = call(address, "/slow", 5, json!({}));
    assert!(outcome.failed() == 0 && outcome.completed > 5, "{outcome:?}");
    assert_eq!(seen.most_at_once.load(Ordering::Relaxed), 3);
}

#[test]
fn bodies_of_any_size_go_both_ways() {
    let (address, _) = serve(100);
    let more = json!({"method": "POST", "headers": [["X-A", "b"]], "body": "y".repeat(50_000)});
    let echoed = call(address, "/echo", 4, more);
    assert!(echoed.failed() == 0 && echoed.completed > 2, "{echoed:?}");
    let large = call(address, "/large", 4, json!({}));
    assert!(large.failed() == 0 && large.completed > 2, "{large:?}");
}

#[test]
fn statuses_from_400_are_errors() {
    let (address, _) = serve(100);
    let outcome = call(address, "/mixed", 3, json!({"method": "DELETE"}));
    let classes: Vec<_> = outcome.errors.keys().collect();
    assert_eq!(classes, ["http_4xx", "http_5xx"]);
    assert!(outcome.errors["http_4xx"].message.contains("418"));
    assert!(outcome.completed.abs_diff(outcome.errors["http_5xx"].count) <= 6);
}

#[test]
fn a_call_that_hangs_is_given_up() {
    let (address, seen) = serve(100);
    let outcome = call(address, "/hang", 4, json!({}));
    assert_eq!(outcome.completed, 0);
    assert!((4..=8).contains(&outcome.errors["timeout"].count) && outcome.cut_off <= 4, "{outcome:?}");
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_no_http_2_is_an_error() {
    for (answer, class) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..], "malformed"),
        // A header block of stream 1 that refers to a dynamic table.
        (b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xbe", "malformed"),
        // A continuation of nothing.
        (b"\x00\x00\x00\x09\x04\x00\x00\x00\x01", "malformed"),
        // GOAWAY: the last stream it took is 0.
        (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "lost"),
        // RST_STREAM of stream 1.
        (b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02", "stream_reset"),
        (b"", "lost"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                // The preface and the first request.
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer);
            }
        });
        let outcome = call(address, "/", 1, json!({}));
        assert_eq!(outcome.completed, 0);
        assert!(outcome.errors.contains_key(class), "{class}: {:?}", outcome.errors);
    }
}
