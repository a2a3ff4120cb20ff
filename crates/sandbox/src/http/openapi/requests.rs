//! What clients send, with its limits.

use serde_json::{Map, Value, json};

use super::{Offer, schema};

const ID_EXAMPLE: &str = "0123456789abcdef0123456789abcdef";

/// The schemas of everything that clients send.
pub(super) fn schemas(offer: &Offer<'_>) -> Map<String, Value> {
    let limits = offer.limits;
    let exec_ms = u64::try_from(limits.max_exec_timeout.as_millis()).unwrap_or(u64::MAX);
    let env = json!({
        "type": "object",
        "description": "Environment variables, 128 KiB in all.",
        "maxProperties": 256,
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": "string", "pattern": "^[^\\u0000]*$" },
    });
    let metadata = json!({
        "type": "object",
        "description": "The client's own notes, given back as they are. Lengths are in bytes.",
        "maxProperties": 64,
        "propertyNames": { "minLength": 1, "maxLength": 128 },
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    });
    let timeout_s = optional("How long it may live.", 1, limits.max_life.as_secs(), limits.life.as_secs());
    let create = request(
        "A sandbox. What is absent or null is the service's default.",
        &[],
        json!({
            "image": { "type": ["string", "null"], "description": "What it boots.", "enum": images(offer) },
            "vcpus": optional("Virtual CPUs.", 1, limits.max_vcpus.into(), limits.vcpus.into()),
            "memory_mib":
                optional("Guest memory.", limits.min_memory_mib, limits.max_memory_mib, limits.memory_mib),
            "disk_mib": optional("Size of its empty disk; 0 for none.", 0, limits.max_disk_mib, limits.disk_mib),
            "env": schema("Env"),
            "timeout_s": timeout_s,
            "metadata": schema("Metadata"),
            "start": {
                "type": ["string", "null"],
                "description": "How it starts.",
                "enum": ["cold", "template", "warm", null],
            },
        }),
        json!({ "memory_mib": limits.memory_mib, "env": { "LANG": "C" }, "metadata": { "user": "ada" } }),
    );
    let exec = request(
        "A command.",
        &["sandbox_id", "cmd"],
        json!({
            "sandbox_id": schema("SandboxId"),
            "cmd": {
                "type": "string",
                "description": "A line for the guest's shell. Lengths are in bytes.",
                "minLength": 1,
                "maxLength": 131_071,
                "pattern": "^[^\\u0000]+$",
            },
            "timeout_ms": optional(
                "When it passes, the command is killed.",
                1,
                exec_ms,
                u64::try_from(limits.exec_timeout.as_millis()).unwrap_or(u64::MAX),
            ),
            "stdin": { "type": ["string", "null"], "description": "Its standard input." },
            "env": schema("Env"),
            "encoding": {
                "type": ["string", "null"],
                "description": "How its output is written: as text, in which what is not UTF-8 is U+FFFD, or as base64.",
                "enum": ["base64", "text", null],
            },
        }),
        json!({ "sandbox_id": format!("sb-{ID_EXAMPLE}"), "cmd": "uname -r", "timeout_ms": 5000 }),
    );
    let named = [
        ("Env", env),
        ("Metadata", metadata),
        ("SandboxId", id("sb-")),
        ("SnapshotId", id("sn-")),
        ("SnapshotName", name()),
        ("CreateRequest", create),
        ("ExecRequest", exec),
        (
            "DestroyRequest",
            request(
                "The end of a sandbox.",
                &["sandbox_id"],
                json!({ "sandbox_id": schema("SandboxId") }),
                json!({ "sandbox_id": format!("sb-{ID_EXAMPLE}") }),
            ),
        ),
        (
            "SnapshotCreateRequest",
            request(
                "A snapshot of a sandbox.",
                &["sandbox_id", "name"],
                json!({ "sandbox_id": schema("SandboxId"), "name": schema("SnapshotName") }),
                json!({ "sandbox_id": format!("sb-{ID_EXAMPLE}"), "name": "ready-1" }),
            ),
        ),
        (
            "RestoreRequest",
            request(
                "A sandbox that goes on from a snapshot.",
                &["snapshot_id"],
                json!({
                    "snapshot_id": schema("SnapshotId"),
                    "env": schema("Env"),
                    "timeout_s": timeout_s,
                    "metadata": schema("Metadata"),
                }),
                json!({ "snapshot_id": format!("sn-{ID_EXAMPLE}") }),
            ),
        ),
        (
            "SnapshotDeleteRequest",
            request(
                "The end of a snapshot.",
                &["snapshot_id"],
                json!({ "snapshot_id": schema("SnapshotId") }),
                json!({ "snapshot_id": format!("sn-{ID_EXAMPLE}") }),
            ),
        ),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// An object that has these fields and no others.
fn request(description: &str, required: &[&str], properties: Value, example: Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
        "additionalProperties": false,
        "examples": [example],
    })
}

fn optional(description: &str, minimum: u64, maximum: u64, default: u64) -> Value {
    json!({
        "type": ["integer", "null"],
        "description": format!("{description} {default} when absent."),
        "minimum": minimum,
        "maximum": maximum,
    })
}

fn id(prefix: &str) -> Value {
    json!({
        "type": "string",
        "pattern": format!("^{prefix}[0-9a-f]{{32}}$"),
        "examples": [format!("{prefix}{ID_EXAMPLE}")],
    })
}

fn name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "description": "What the client calls it. Names need not be unique.",
    })
}

fn images(offer: &Offer<'_>) -> Vec<Value> {
    offer.images.iter().map(|name| json!(name)).chain([Value::Null]).collect()
}
