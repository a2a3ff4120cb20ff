//! The load generator `virtmark-load`, built static for the host's architecture, as bytes: to be put into a guest, or
//! to run on the host itself under limits. `docs/load.md` describes what it reads and writes.

/// The program, an ELF executable.
pub static LOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/virtmark-load"));

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use serde_json::json;
    use virtmark_load::Event;

    use super::*;

    /// It is sent to every guest that is swept.
    const LIMIT_BYTES: usize = 4_000_000;

    #[test]
    fn it_is_small_and_measures_on_its_own() {
        assert!(LOAD.len() < LIMIT_BYTES, "{} bytes", LOAD.len());
        // A root without any library: what needs a loader cannot start there.
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("virtmark-load");
        fs::write(&program, LOAD).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = r#"{"plan": "p", "output": "a", "nodes": {"a": {"op": "sleep", "duration_ms": 1}}}"#;
        let job = json!({
            "target": {"kind": "plan", "plan": plan, "async": true, "cpu_threads": 1, "io_threads": 1},
            "arrivals": {"kind": "closed", "concurrency": 2},
            "duration_ns": 100_000_000,
            "request_timeout_ns": 1_000_000_000,
        });
        fs::write(root.path().join("job.json"), job.to_string()).unwrap();
        let chroot = rustix::process::geteuid().is_root();
        let (name, file) =
            if chroot { ("chroot", "/job.json") } else { (program.to_str().unwrap(), "job.json") };
        let mut command = Command::new(name);
        if chroot {
            command.arg(root.path()).arg("/virtmark-load");
        }
        let output = command.arg(file).current_dir(root.path()).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        match serde_json::from_str(text.lines().last().unwrap()).unwrap() {
            Event::Outcome(outcome) => {
                assert!(outcome.completed > 10 && outcome.failed() == 0, "{outcome:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}
