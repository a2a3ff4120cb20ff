//! What a connection asks of us while it is made: whether the machine is the one it should be.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client;
use russh::keys::PublicKeyOrCertificate;

use super::known::{self, OnFile};
use super::way::Way;
use crate::Failure;

/// Judges the machine's key.
pub(super) struct Handler {
    way: Arc<Way>,
    on_file: Vec<OnFile>,
    verdict: Verdict,
}

/// Why the key was not trusted: the library itself can only say that it was not.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<Mutex<Option<Failure>>>);

impl Verdict {
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Handler {
    pub(super) fn new(way: Arc<Way>, on_file: Vec<OnFile>) -> (Self, Verdict) {
        let verdict = Verdict::default();
        (Self { way, on_file, verdict: verdict.clone() }, verdict)
    }
}

impl client::Handler for Handler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match known::check(&self.way, &self.on_file, shown) {
            Ok(()) => Ok(true),
            Err(failure) => {
                *self.verdict.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                Ok(false)
            }
        }
    }
}
