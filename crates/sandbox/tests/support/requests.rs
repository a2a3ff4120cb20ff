//! What must hold for any bytes in the body of a request. Used by the property test here and by the fuzz target in
//! `fuzz/`.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use virtmark_sandbox::api::{
    CreateRequest, DestroyRequest, ExecRequest, GuestPath, ImageName, RestoreRequest, SandboxId,
    SnapshotCreateRequest, SnapshotDeleteRequest,
};

/// As each request that there is: refused, or one that is written and read back as the same, with nothing in it that
/// could lead a path or a command line astray. Gives how many it was taken for.
pub(crate) fn check_any_body(bytes: &[u8]) -> usize {
    let create = check::<CreateRequest>(bytes);
    if let Some(image) = create.as_ref().and_then(|request| request.image.as_ref()) {
        check_name(image.as_str());
    }
    let exec = check::<ExecRequest>(bytes);
    if let Some(exec) = &exec {
        check_id(&exec.sandbox_id);
        assert!(!exec.cmd.as_str().contains('\0'));
    }
    let destroy = check::<DestroyRequest>(bytes);
    destroy.iter().for_each(|request| check_id(&request.sandbox_id));
    let snapshot = check::<SnapshotCreateRequest>(bytes);
    snapshot.iter().for_each(|request| check_id(&request.sandbox_id));
    let restore = check::<RestoreRequest>(bytes);
    restore.iter().for_each(|request| check_name(request.snapshot_id.as_str()));
    let delete = check::<SnapshotDeleteRequest>(bytes);
    delete.iter().for_each(|request| check_name(request.snapshot_id.as_str()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(path) = text.parse::<GuestPath>() {
            assert!(path.as_str().starts_with('/') && !path.as_str().contains('\0'), "{path:?}");
        }
        text.parse::<ImageName>().iter().for_each(|name| check_name(name.as_str()));
        text.parse::<SandboxId>().iter().for_each(check_id);
    }
    let taken = [
        create.is_some(),
        exec.is_some(),
        destroy.is_some(),
        snapshot.is_some(),
        restore.is_some(),
        delete.is_some(),
    ];
    taken.into_iter().filter(|taken| *taken).count()
}

fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let request: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&request).unwrap();
    assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), request);
    Some(request)
}

fn check_id(id: &SandboxId) {
    check_name(id.as_str());
}

/// One component of a path, and no option of a command line.
fn check_name(name: &str) {
    assert!(!name.is_empty() && name != "." && name != "..", "{name:?}");
    assert!(!name.starts_with('-') && !name.contains(['/', '\0', ',']), "{name:?}");
}
