//! What clients ask.

use serde::{Deserialize, Serialize};

use super::{CommandText, Env, ImageName, Metadata, SandboxId, SnapshotId, SnapshotName, number};

/// `POST /create`. What is absent is the service's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreateRequest {
    /// What it boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// Virtual CPUs.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Guest memory.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Size of its empty disk; 0 for none.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u64>,
    /// Variables that every command of it gets.
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// How long it may live.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// The client's own notes, given back as they are.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// How it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
}

/// How a sandbox is asked to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartKind {
    /// It boots.
    Cold,
    /// It goes on from a snapshot of a guest that has booted.
    Template,
    /// It was restored beforehand and waited.
    Warm,
}

/// `POST /exec` and `POST /exec/stream`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Where.
    pub sandbox_id: SandboxId,
    /// A line for the guest's shell.
    pub cmd: CommandText,
    /// When it passes, the command is killed.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Variables of this command, which win over those of the sandbox.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// How its output is written in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// How output is written in JSON, which knows text only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As base64 (RFC 4648 §4, padded).
    Base64,
    /// As text; what is not UTF-8 comes as U+FFFD.
    #[default]
    Text,
}

/// `POST /destroy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyRequest {
    /// Which.
    pub sandbox_id: SandboxId,
}

/// `POST /snapshot/create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCreateRequest {
    /// Of which sandbox.
    pub sandbox_id: SandboxId,
    /// What to call it. Names need not be unique.
    pub name: SnapshotName,
}

/// `POST /snapshot/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// From which.
    pub snapshot_id: SnapshotId,
    /// Variables that every command of it gets.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// How long it may live.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// The client's own notes, given back as they are.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// `POST /snapshot/delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotDeleteRequest {
    /// Which.
    pub snapshot_id: SnapshotId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_what_they_know_and_nothing_else() {
        let empty: CreateRequest = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, CreateRequest::default());
        assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
        let full = r#"{"image":"tiny","vcpus":2,"memory_mib":256,"disk_mib":8,"env":{"A":"1"},"timeout_s":60,"metadata":{"k":"v"},"start":"warm"}"#;
        let read: CreateRequest = serde_json::from_str(full).unwrap();
        assert_eq!(read.start, Some(StartKind::Warm));
        assert_eq!(serde_json::to_string(&read).unwrap(), full);
        for wrong in [
            r#"{"vcpu":1}"#,
            r#"{"vcpus":-1}"#,
            r#"{"start":"hot"}"#,
            r#"{"env":{"A=":"1"}}"#,
            r#"{"image":"../x"}"#,
        ] {
            assert!(serde_json::from_str::<CreateRequest>(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<ExecRequest>(r#"{"sandbox_id":"sb-1","cmd":"true"}"#).is_err());
    }
}
