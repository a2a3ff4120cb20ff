//! What the HTTP layer adds to a call of the service, on a platform that answers at once.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Reply, connect, request};
use crate::house::House;

const CALLS: usize = 2000;
/// What the layer may add at the median.
const LIMIT: Duration = Duration::from_millis(2);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "a measurement: run it alone, in the release profile"]
fn http_adds_less_than_two_milliseconds_at_the_median() {
    let house = House::new();
    let id = house.create();
    let body = json!({ "sandbox_id": id, "cmd": "echo" }).to_string();
    let bytes = request("POST", "/exec", &[("Content-Type", "application/json")], body.as_bytes());
    let bytes = String::from_utf8(bytes).unwrap().replace("Connection: close\r\n", "");
    let mut client = connect(house.address);
    let (mut over_http, mut direct) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    for _ in 0..CALLS {
        let asked = Instant::now();
        client.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let reply = loop {
            let count = client.read(&mut buffer).unwrap();
            answer.extend_from_slice(&buffer[..count]);
            if let Some((reply, _)) = Reply::parse(&answer) {
                break reply;
            }
        };
        over_http.push(asked.elapsed());
        assert_eq!(reply.status, 200);
        // The service's own account of the same call, alternating with it by nature.
        direct.push(Duration::from_nanos(reply.json()["duration_ns"].as_u64().unwrap()));
    }
    let (over_http, direct) = (median(over_http), median(direct));
    println!("median of {CALLS}: {over_http:?} over HTTP, {direct:?} in the service");
    assert!(over_http.saturating_sub(direct) < LIMIT, "{over_http:?} over HTTP, {direct:?} in the service");
}
