//! A service that listens, on a platform without machines.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use virtmark_sandbox::api::StartKind;
use virtmark_sandbox::http::{HttpOptions, Server, serve};
use virtmark_sandbox::{Options, Service};

use crate::client::post;
use crate::fake::{Behaviour, Fake, OneImage};

pub(crate) struct House {
    pub(crate) server: Option<Server>,
    pub(crate) address: SocketAddr,
    pub(crate) behaviour: Arc<Behaviour>,
    _state: TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(limits: impl FnOnce(&mut Options), offer: impl FnOnce(&mut HttpOptions)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let behaviour = Arc::new(Behaviour::default());
        let mut options = Options { start: StartKind::Cold, ..Options::new(state.path().join("state")) };
        limits(&mut options);
        let service =
            Service::open(Arc::new(Fake::new(behaviour.clone())), Arc::new(OneImage), options).unwrap();
        let mut http = HttpOptions::default();
        offer(&mut http);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = serve(listener, service, http).unwrap();
        Self { address: server.local_addr(), server: Some(server), behaviour, _state: state }
    }

    /// The id of a new sandbox.
    pub(crate) fn create(&self) -> String {
        let reply = post(self.address, "/create", &json!({}));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["sandbox_id"].as_str().unwrap().into()
    }

    /// What a command in a sandbox gave.
    pub(crate) fn exec(&self, id: &str, cmd: &str) -> Value {
        let reply = post(self.address, "/exec", &json!({ "sandbox_id": id, "cmd": cmd }));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// It still makes sandboxes, runs commands and ends sandboxes.
    pub(crate) fn assert_works(&self) {
        let id = self.create();
        assert_eq!(self.exec(&id, "echo here")["stdout"], "here\n");
        let reply = post(self.address, "/destroy", &json!({ "sandbox_id": id }));
        assert_eq!(reply.json()["destroyed"], true);
    }

    pub(crate) fn machines(&self) -> usize {
        self.behaviour.machines.load(Ordering::SeqCst)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.behaviour.held.store(false, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            server.shutdown(Duration::ZERO);
        }
    }
}

/// Waits until this is so.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never so: {what}");
        sleep(Duration::from_millis(2));
    }
}
