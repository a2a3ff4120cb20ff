//! The service over a platform without machines: races, limits, ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ends;
mod fake;
mod limits;
mod snapshots;
mod templates;
mod warm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_sandbox::api::*;
use virtmark_sandbox::{Options, Service};

use fake::{Pictures, World};

/// A world with a place for the state of its services.
struct Bench {
    world: World,
    place: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { world: World::default(), place: tempfile::tempdir().unwrap() }
    }

    fn service(&self, change: impl FnOnce(&mut Options)) -> Arc<Service> {
        let mut options = Options::new(self.place.path().join("state"));
        change(&mut options);
        Service::open(self.world.platform(), Arc::new(Pictures::default()), options).unwrap()
    }

    fn kept(&self, what: &str) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.place.path().join("state").join(what)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn create(service: &Service, start: StartKind) -> virtmark_sandbox::Result<Created> {
    service.create(CreateRequest { start: Some(start), ..Default::default() })
}

fn command(id: &SandboxId, cmd: &str) -> ExecRequest {
    ExecRequest {
        sandbox_id: id.clone(),
        cmd: cmd.parse().unwrap(),
        timeout_ms: None,
        stdin: None,
        env: Env::default(),
        encoding: None,
    }
}

fn destroy(service: &Service, id: &SandboxId) -> bool {
    service.destroy(DestroyRequest { sandbox_id: id.clone() }).unwrap().destroyed
}

/// Waits for what must come, and fails when it does not.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}
