//! Doors for fuzz targets: what QEMU says comes in by its control connection only.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::qmp::Qmp;

/// What one of the waits may take; a connection that is closed ends them all.
const LIMIT: Duration = Duration::from_secs(5);

/// Negotiates, asks three questions and waits for an event: how many of these went well, and what did not.
pub fn control_connection(stream: UnixStream) -> (u32, Option<String>) {
    let mut qmp = match Qmp::negotiate(stream, LIMIT) {
        Ok(qmp) => qmp,
        Err(error) => return (0, Some(error.to_string())),
    };
    let mut done = 1;
    for command in ["query-status", "query-migrate", "query-blockstats"] {
        if let Err(error) = qmp.execute(command, json!({}), LIMIT) {
            return (done, Some(error.to_string()));
        }
        done += 1;
    }
    let event = qmp.wait_event("SHUTDOWN", LIMIT, |event| event.name == "SHUTDOWN" && event.data.is_object());
    (done + u32::from(event.is_ok()), event.err().map(|error| error.to_string()))
}
