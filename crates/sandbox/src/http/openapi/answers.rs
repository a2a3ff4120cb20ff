//! What clients are answered.

use serde_json::{Map, Value, json};
use virtmark_model::FailureClass;

use super::schema;

/// The schemas of everything that clients are answered.
pub(super) fn schemas() -> Map<String, Value> {
    let named = [
        ("Created", created()),
        (
            "Destroyed",
            object(json!({ "sandbox_id": schema("SandboxId"), "destroyed": { "type": "boolean" } })),
        ),
        ("Error", error()),
        ("ExecAnswer", exec_answer()),
        ("Health", health()),
        ("Phase", phase()),
        ("SandboxInfo", sandbox_info()),
        ("SandboxList", list("sandboxes", "SandboxInfo")),
        ("SnapshotCreated", snapshot_created()),
        (
            "SnapshotDeleted",
            object(json!({
                "snapshot_id": schema("SnapshotId"),
                "deleted": { "type": "boolean", "description": "Its files are gone." },
                "deferred": { "type": "boolean", "description": "They go with the last sandbox that uses them." },
            })),
        ),
        ("SnapshotInfo", snapshot_info()),
        ("SnapshotList", list("snapshots", "SnapshotInfo")),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// An object that has all these fields.
fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn list(field: &str, of: &str) -> Value {
    object(json!({ field: { "type": "array", "items": schema(of) } }))
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn moment(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

fn nullable(kind: &str, description: &str) -> Value {
    json!({ "type": [kind, "null"], "description": description })
}

fn phases() -> Value {
    json!({
        "type": "array",
        "items": schema("Phase"),
        "description": "The parts of duration_ns, in order, without gaps.",
    })
}

fn phase() -> Value {
    object(json!({
        "name": { "type": "string" },
        "start_ns": count("From the start of the first phase."),
        "duration_ns": count("How long it lasted."),
    }))
}

fn created() -> Value {
    object(json!({
        "sandbox_id": schema("SandboxId"),
        "start": {
            "type": "string",
            "enum": ["cold", "snapshot", "template", "warm"],
            "description": "How it really started.",
        },
        "phases": phases(),
        "duration_ns": count("The service's own time, from the request read to the answer ready."),
        "created_at": moment("When it was ready."),
        "expires_at": moment("When it will be destroyed."),
        "image": { "type": "string" },
        "vcpus": count("Virtual CPUs."),
        "memory_mib": count("Guest memory."),
        "metadata": schema("Metadata"),
    }))
}

fn sandbox_info() -> Value {
    let usage = json!({
        "cpu_ns": nullable("integer", "CPU time of its VMM."),
        "rss_bytes": nullable("integer", "Resident set of its VMM."),
        "pss_bytes": nullable("integer", "Resident set with shared pages divided among those who share them."),
        "private_bytes": nullable("integer", "Memory that it alone has."),
        "disk_bytes": nullable("integer", "Bytes on disk in its own files."),
    });
    json!({
        "allOf": [
            schema("Created"),
            {
                "type": "object",
                "required": ["state"],
                "properties": {
                    "state": { "type": "string", "enum": ["ending", "running"] },
                    "usage": object(usage),
                },
            },
        ],
    })
}

fn exec_answer() -> Value {
    object(json!({
        "stdout": { "type": "string" },
        "stderr": { "type": "string" },
        "exit_code": {
            "type": "integer",
            "description": "As a shell tells it: 128 + signal, 124 when its time limit passed.",
        },
        "duration_ns": count("The service's own time, from the request read to the answer ready."),
        "timed_out": { "type": "boolean" },
        "stdout_bytes": count("Bytes written to standard output in all."),
        "stderr_bytes": count("Bytes written to standard error in all."),
        "stdout_truncated": { "type": "boolean" },
        "stderr_truncated": { "type": "boolean" },
    }))
}

fn snapshot_created() -> Value {
    object(json!({
        "snapshot_id": schema("SnapshotId"),
        "name": schema("SnapshotName"),
        "created_at": moment("When it was whole."),
        "disk_bytes": count("Bytes that it takes on disk."),
        "phases": phases(),
        "duration_ns": count("The service's own time, from the request read to the answer ready."),
    }))
}

fn snapshot_info() -> Value {
    object(json!({
        "snapshot_id": schema("SnapshotId"),
        "name": schema("SnapshotName"),
        "created_at": moment("When it was whole."),
        "disk_bytes": count("Bytes that it takes on disk."),
        "image": { "type": "string" },
        "vcpus": count("Virtual CPUs."),
        "memory_mib": count("Guest memory."),
        "in_use_by": { "type": "array", "items": schema("SandboxId") },
    }))
}

fn health() -> Value {
    let hypervisor = json!({
        "name": { "type": "string" },
        "version": { "type": "string" },
        "accelerator": { "type": ["string", "null"], "enum": ["kvm", "tcg", null] },
        "accelerator_reason": nullable("string", "Why this accelerator."),
        "configuration": nullable("string", "What else decides its speed."),
        "emulated": { "type": "boolean", "description": "Guest code runs in software emulation." },
    });
    let image = json!({
        "id": { "type": "string", "description": "Hash of all of it." },
        "name": { "type": "string" },
        "kernel_sha256": { "type": "string" },
        "initramfs_sha256": nullable("string", "Hash of the initramfs."),
        "kernel_release": nullable("string", "As in `uname -r`."),
    });
    object(json!({
        "status": { "type": "string", "enum": ["draining", "ok"] },
        "version": { "type": "string" },
        "hypervisor": object(hypervisor),
        "image": object(image),
        "start": { "type": "string", "enum": ["cold", "template", "warm"] },
        "sandboxes": count("How many there are."),
        "ready_warm": count("Warm machines that wait."),
        "confinement": {
            "description": "What locks the sandboxes' VMMs in, as plain facts; null for nothing.",
        },
    }))
}

fn error() -> Value {
    let mut error = object(json!({
        "code": { "type": "string", "pattern": "^[a-z][a-z_]*$", "description": "Stable, for programs." },
        "message": { "type": "string", "description": "What was attempted, on what, and why it failed." },
        "remedy": { "type": "string", "description": "What to do." },
    }));
    error["properties"]["class"] = json!({
        "type": "string",
        "enum": FailureClass::ALL,
        "description": "How a measurement counts it; only of machines that failed.",
    });
    let mut schema = object(json!({ "error": error }));
    schema["examples"] = json!([{
        "error": {
            "code": "sandbox_unknown",
            "message": "there is no sandbox sb-0123456789abcdef0123456789abcdef",
            "remedy": "see GET /sandboxes for those that there are",
        },
    }]);
    schema
}
