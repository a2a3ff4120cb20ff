//! What a connection asks of us while it is made: whether the machine is the one it should be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, DisconnectReason};
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

/// What the library itself does not tell those who wait.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<Told>);

#[derive(Default)]
struct Told {
    untrusted: Mutex<Option<Failure>>,
    farewell: AtomicBool,
}

impl Verdict {
    /// Why the key was not trusted.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.untrusted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the server has ended the connection by saying so, as it does when it has had enough.
    pub(super) fn is_farewell(&self) -> bool {
        self.0.farewell.load(Ordering::Acquire)
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
                *self.verdict.0.untrusted.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        match reason {
            DisconnectReason::Error(error) => Err(error),
            DisconnectReason::ReceivedDisconnect(_) => {
                self.verdict.0.farewell.store(true, Ordering::Release);
                Ok(())
            }
        }
    }
}
