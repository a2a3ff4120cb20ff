//! What each operation takes and answers.

use serde_json::{Map, Value, json};

use super::super::route::Operation;
use super::{is_open, schema};

/// How an operation is described.
struct Description {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Status of the answer.
    status: u16,
    /// Its content; `None` where it has none.
    answer: Option<Value>,
    answer_description: &'static str,
    /// What can be done with the answer.
    links: Value,
    /// Statuses of its errors, beside those that every operation has.
    errors: &'static [u16],
}

/// The description of one operation; `token` says whether clients must show one.
pub(super) fn describe(operation: Operation, token: bool) -> Value {
    let is_open = is_open(operation);
    let description = description(operation);
    let mut answer = json!({ "description": description.answer_description });
    if let Some(content) = description.answer {
        answer["content"] = content;
    }
    if description.links != json!({}) {
        answer["links"] = description.links;
    }
    let mut responses = Map::new();
    responses.insert(description.status.to_string(), answer);
    let every: &[u16] = match (is_open, token) {
        (true, _) => &[400, 405, 500, 503],
        (false, true) => &[400, 401, 405, 500, 503],
        (false, false) => &[400, 403, 405, 500, 503],
    };
    for status in every.iter().chain(description.errors) {
        responses.insert(status.to_string(), error(*status));
    }
    let mut described = json!({
        "operationId": description.id,
        "tags": [description.tag],
        "summary": description.summary,
        "responses": responses,
    });
    if !description.parameters.is_empty() {
        described["parameters"] = Value::Array(description.parameters);
    }
    if let Some(body) = description.body {
        // No body at all is an empty file.
        let required = operation != Operation::FilePut;
        described["requestBody"] = json!({ "required": required, "content": body });
    }
    if is_open && token {
        described["security"] = json!([]);
    }
    described
}

fn description(operation: Operation) -> Description {
    let plain = Description {
        id: "",
        tag: "sandboxes",
        summary: "",
        parameters: Vec::new(),
        body: None,
        status: 200,
        answer: None,
        answer_description: "",
        links: json!({}),
        errors: &[],
    };
    match operation {
        Operation::Create => Description {
            id: "create",
            summary: "Makes a sandbox; answers when its guest does",
            body: Some(of_json("CreateRequest")),
            answer: Some(of_json("Created")),
            answer_description: "It is ready.",
            links: sandbox_links(),
            errors: &[408, 413, 415, 429, 504, 507],
            ..plain
        },
        Operation::Exec => Description {
            id: "exec",
            summary: "Runs a command and answers with its output when it has ended",
            body: Some(of_json("ExecRequest")),
            answer: Some(of_json("ExecAnswer")),
            answer_description: "It has ended, in whatever way.",
            errors: &[404, 408, 409, 410, 413, 415, 422, 429, 504],
            ..plain
        },
        Operation::ExecStream => Description {
            id: "exec_stream",
            summary: "Runs a command and sends its output while it runs",
            body: Some(of_json("ExecRequest")),
            answer: Some(of_events()),
            answer_description: "Server-sent events: `stdout` and `stderr` with {\"data\": text}, at the end `exit` \
                with {exit_code, duration_ns, timed_out}, or `error` with {code, class?, message, remedy}. A quiet \
                stream has comments.",
            errors: &[404, 408, 409, 410, 413, 415, 422, 429, 504],
            ..plain
        },
        Operation::Destroy => Description {
            id: "destroy",
            summary: "Destroys a sandbox; asking again does nothing",
            body: Some(of_json("DestroyRequest")),
            answer: Some(of_json("Destroyed")),
            answer_description: "It is gone.",
            errors: &[408, 413, 415],
            ..plain
        },
        Operation::List => Description {
            id: "list_sandboxes",
            summary: "Lists the sandboxes",
            answer: Some(of_json("SandboxList")),
            answer_description: "All of them.",
            ..plain
        },
        Operation::Inspect => Description {
            id: "inspect_sandbox",
            summary: "Tells of one sandbox what it is and what it uses",
            parameters: vec![sandbox_id()],
            answer: Some(of_json("SandboxInfo")),
            answer_description: "What is known of it.",
            errors: &[404, 410],
            ..plain
        },
        Operation::FileGet => Description {
            id: "get_file",
            tag: "files",
            summary: "Reads a file of the guest",
            parameters: vec![sandbox_id(), path()],
            answer: Some(of_bytes()),
            answer_description: "Its content. A connection that ends early means that it is not whole.",
            errors: &[404, 409, 410, 413, 414, 422, 429, 504],
            ..plain
        },
        Operation::FilePut => Description {
            id: "put_file",
            tag: "files",
            summary: "Writes a file into the guest; it appears whole or not at all",
            parameters: vec![sandbox_id(), path(), mode()],
            body: Some(of_bytes()),
            status: 204,
            answer_description: "It is there.",
            errors: &[404, 408, 409, 410, 411, 413, 414, 422, 429, 504],
            ..plain
        },
        Operation::SnapshotCreate => Description {
            id: "create_snapshot",
            tag: "snapshots",
            summary: "Keeps the state of a sandbox, which goes on",
            body: Some(of_json("SnapshotCreateRequest")),
            answer: Some(of_json("SnapshotCreated")),
            answer_description: "It is on disk.",
            links: json!({
                "restore": linked("restore_snapshot", "snapshot_id"),
                "delete": linked("delete_snapshot", "snapshot_id"),
            }),
            errors: &[404, 408, 409, 410, 413, 415, 422, 429, 504, 507],
            ..plain
        },
        Operation::SnapshotRestore => Description {
            id: "restore_snapshot",
            tag: "snapshots",
            summary: "Makes a sandbox that goes on from a snapshot",
            body: Some(of_json("RestoreRequest")),
            answer: Some(of_json("Created")),
            answer_description: "It is ready.",
            links: sandbox_links(),
            errors: &[404, 408, 409, 413, 415, 429, 504, 507],
            ..plain
        },
        Operation::SnapshotList => Description {
            id: "list_snapshots",
            tag: "snapshots",
            summary: "Lists the snapshots",
            answer: Some(of_json("SnapshotList")),
            answer_description: "All of them.",
            ..plain
        },
        Operation::SnapshotDelete => Description {
            id: "delete_snapshot",
            tag: "snapshots",
            summary: "Deletes a snapshot, at once or with the last sandbox that uses it",
            body: Some(of_json("SnapshotDeleteRequest")),
            answer: Some(of_json("SnapshotDeleted")),
            answer_description: "It cannot be restored any more.",
            errors: &[404, 408, 413, 415],
            ..plain
        },
        Operation::Health => Description {
            id: "health",
            tag: "service",
            summary: "Tells whether the service takes work, and what it runs on; needs no token",
            answer: Some(of_json("Health")),
            answer_description: "It lives.",
            ..plain
        },
        Operation::Metrics => Description {
            id: "metrics",
            tag: "service",
            summary: "Counts of the service, as Prometheus reads them",
            answer: Some(json!({ "text/plain": { "schema": { "type": "string" } } })),
            answer_description: "The text format 0.0.4.",
            ..plain
        },
        Operation::OpenApi => Description {
            id: "openapi",
            tag: "service",
            summary: "This document",
            answer: Some(json!({ "application/json": { "schema": { "type": "object" } } })),
            answer_description: "It describes the interface, with the limits of this service.",
            ..plain
        },
    }
}

fn of_json(name: &str) -> Value {
    json!({ "application/json": { "schema": schema(name) } })
}

fn of_bytes() -> Value {
    json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } })
}

/// Server-sent events, by what each of them holds.
fn of_events() -> Value {
    let event = json!({
        "type": "object",
        "description": "One event.",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "enum": ["error", "exit", "stderr", "stdout"] },
            "data": { "type": "string", "contentMediaType": "application/json" },
        },
    });
    json!({ "text/event-stream": { "schema": event } })
}

fn sandbox_id() -> Value {
    json!({ "name": "sandbox_id", "in": "path", "required": true, "schema": schema("SandboxId") })
}

fn path() -> Value {
    json!({
        "name": "path",
        "in": "query",
        "required": true,
        "description": "An absolute path in the guest.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 4095, "pattern": "^/[^\\u0000]*$" },
        "example": "/tmp/notes",
    })
}

fn mode() -> Value {
    json!({
        "name": "mode",
        "in": "query",
        "description": "Permission bits, octal.",
        "schema": { "type": "string", "pattern": "^0?[0-7]{3}$", "default": "0644" },
    })
}

fn sandbox_links() -> Value {
    json!({
        "exec": linked("exec", "sandbox_id"),
        "exec_stream": linked("exec_stream", "sandbox_id"),
        "snapshot": linked("create_snapshot", "sandbox_id"),
        "destroy": linked("destroy", "sandbox_id"),
        "inspect": {
            "operationId": "inspect_sandbox",
            "parameters": { "sandbox_id": "$response.body#/sandbox_id" },
        },
    })
}

/// A link to an operation whose body takes a field of the answer.
fn linked(operation: &str, field: &str) -> Value {
    json!({ "operationId": operation, "requestBody": { field: format!("$response.body#/{field}") } })
}

fn error(status: u16) -> Value {
    let (description, header) = match status {
        400 => ("The request is not what is wanted here.", None),
        401 => ("The token is missing or wrong.", Some("WWW-Authenticate")),
        404 => ("It is not there.", None),
        405 => ("The path has other methods.", Some("Allow")),
        408 => ("The request did not come in time.", None),
        409 => ("It has failed, or is damaged.", None),
        410 => ("It was there, and is gone.", None),
        411 => ("The size of the body is not known.", None),
        413 => ("The body is too large.", None),
        414 => ("The path and query are too long.", None),
        415 => ("The body has another type.", None),
        422 => ("The guest refused it.", None),
        429 => ("A limit is reached.", Some("Retry-After")),
        503 => ("The service has no room, or is about to end.", Some("Retry-After")),
        504 => ("The guest did not answer in time.", None),
        507 => ("A disk of the host is full.", None),
        _ => ("The service has failed.", None),
    };
    let mut response = json!({ "description": description, "content": of_json("Error") });
    if let Some(name) = header {
        let kind = if name == "Retry-After" { "integer" } else { "string" };
        response["headers"] = json!({ name: { "required": true, "schema": { "type": kind } } });
    }
    response
}
