//! A small HTTP server with one thread per connection, whose answers a test decides.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use virtmark_driver_endpoint::{Endpoint, EndpointOptions, Mapping};
use virtmark_hypervisor::MachineSpec;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What the server does about a request.
pub enum Action {
    /// Answers it and waits for the next.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Closes the connection without an answer.
    Close,
    /// Says nothing until the client goes.
    Hang,
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
}

pub fn json(status: u16, body: Value) -> Action {
    Action::Answer(status, vec![("Content-Type", "application/json".into())], body.to_string().into_bytes())
}

/// A server that ends with the test's process.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, requests: Arc::default(), connections: Arc::default() };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, handler, requests) =
                    (stream.unwrap(), Arc::clone(&handler), Arc::clone(&requests));
                *connections.lock().unwrap() += 1;
                thread::spawn(move || serve(stream, &*handler, &requests));
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// First lines of the requests, without the version.
    pub fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

fn serve(stream: TcpStream, handler: &dyn Fn(&Request) -> Action, requests: &Mutex<Vec<Request>>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        requests.lock().unwrap().push(request.clone());
        let bytes = match handler(&request) {
            Action::Answer(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                let head = if status == 204 { head.replace("Content-Length: 0\r\n", "") } else { head };
                [head.as_bytes(), b"\r\n", &body].concat()
            }
            Action::Close => return,
            Action::Hang => {
                // Until the client closes it.
                let _ = reader.read(&mut [0]);
                return;
            }
            Action::Raw(bytes) => {
                let _ = writer.write_all(&bytes);
                return;
            }
        };
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let line = line.trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body })
}

pub fn spec(name: &str) -> MachineSpec {
    MachineSpec {
        name: name.into(),
        vcpus: 2,
        memory_bytes: 256 << 20,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(5),
    }
}

/// A service with the API of `virtmark serve`.
pub fn virtmark(url: &str) -> EndpointOptions {
    let mut options = EndpointOptions::new(url, Mapping::virtmark().unwrap());
    options.timeout = Duration::from_secs(5);
    options
}

/// The answer of `GET /healthz`.
pub fn healthy() -> Action {
    json(
        200,
        serde_json::json!({
            "status": "ok", "version": "0.1.0", "start": "template", "sandboxes": 0, "ready_warm": 0,
            "hypervisor": {
                "name": "qemu", "version": "7.2", "accelerator": "tcg", "accelerator_reason": "no /dev/kvm",
                "configuration": "pc", "emulated": true
            },
            "image": { "id": "abc", "name": "tiny", "kernel_sha256": "def" }
        }),
    )
}

/// An endpoint at a server that is healthy, and answers everything else as `handler` says.
pub fn endpoint(handler: impl Fn(&Request) -> Action + Send + Sync + 'static) -> (Server, Endpoint) {
    let server = Server::start(move |request| match request.line.as_str() {
        "GET /healthz" => healthy(),
        _ => handler(request),
    });
    let endpoint = Endpoint::new(virtmark(&server.url)).unwrap();
    (server, endpoint)
}
