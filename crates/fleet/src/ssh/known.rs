//! Keys of machines: which are on file, and what to make of the one that a machine shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use russh::keys::known_hosts::{known_host_keys_path, learn_known_hosts_path};
use russh::keys::{Algorithm, EcdsaCurve, PublicKey, PublicKeyBase64 as _, PublicKeyOrCertificate};

use super::way::Way;
use crate::auth::HostKeyPolicy;
use crate::{Failure, FailureKind};

/// A key that is on file.
#[derive(Clone, Debug)]
pub(super) struct OnFile {
    file: PathBuf,
    line: usize,
    key: PublicKey,
}

/// One writer at a time, of all connections of this process.
static WRITING: Mutex<()> = Mutex::new(());

/// The keys on file of a machine, by its address, and where there is none by its name.
pub(super) fn on_file(way: &Way) -> Result<Vec<OnFile>, Failure> {
    let mut found = Vec::new();
    if way.policy == HostKeyPolicy::Ignore {
        return Ok(found);
    }
    for name in [&way.host, &way.machine] {
        for file in &way.known_hosts {
            let keys = known_host_keys_path(name, way.port, file).map_err(|error| {
                let message =
                    format!("cannot read the host keys in {}: {error}; correct the file", file.display());
                Failure::new(FailureKind::LocalIo, message)
            })?;
            found.extend(keys.into_iter().map(|(line, key)| OnFile { file: file.clone(), line, key }));
        }
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// The kinds of keys to ask for: those on file first, as a machine has several.
pub(super) fn algorithms(on_file: &[OnFile]) -> Vec<Algorithm> {
    let all = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ];
    let is_on_file = |algorithm: &Algorithm| on_file.iter().any(|found| found.key.algorithm() == *algorithm);
    let (mut first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(is_on_file);
    first.extend(rest);
    first
}

/// Whether the key that a machine shows may be trusted. One of a stranger is put on file where the policy has it so.
pub(super) fn check(way: &Way, on_file: &[OnFile], shown: &PublicKeyOrCertificate) -> Result<(), Failure> {
    let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
        let message = "the machine shows a certificate for a host key; certificates are not supported";
        return Err(Failure::new(FailureKind::HostKeyUnknown, message));
    };
    if way.policy == HostKeyPolicy::Ignore {
        return Ok(());
    }
    let fingerprint = key.fingerprint(russh::keys::HashAlg::Sha256);
    let place = known_name(&way.host, way.port);
    // Before all else: whoever revokes a key seldom takes it out of the lines of its machines.
    if is_revoked(&way.known_hosts, key) {
        let message = format!("the host key {fingerprint} of {place} was revoked in known_hosts");
        return Err(Failure::new(FailureKind::HostKeyChanged, message));
    }
    if on_file.iter().any(|found| found.key.key_data() == key.key_data()) {
        return Ok(());
    }
    // A machine has a key of each kind: one of another kind is no other key.
    if let Some(found) = on_file.iter().find(|found| found.key.algorithm() == key.algorithm()) {
        let file = found.file.display();
        let message = format!(
            "the host key has changed: {place} now shows {fingerprint}, {file}:{} has another; somebody may be in \
             between. If the machine was made anew: ssh-keygen -R '{place}' -f {file}",
            found.line
        );
        return Err(Failure::new(FailureKind::HostKeyChanged, message));
    }
    match (way.policy, way.known_hosts.first()) {
        (HostKeyPolicy::AcceptNew, Some(file)) => learn(way, key, file),
        _ => {
            let kind = key.algorithm();
            let others = on_file.first().map_or_else(String::new, |found| {
                let (other, file) = (found.key.algorithm(), found.file.display());
                format!(" ({file}:{} has an {other} key)", found.line)
            });
            let message = format!(
                "no {kind} host key of {place} is on file{others}; it shows {fingerprint}: add that with \
                 `ssh-keyscan`, or accept strangers and new kinds of keys with --host-keys accept-new"
            );
            Err(Failure::new(FailureKind::HostKeyUnknown, message))
        }
    }
}

fn learn(way: &Way, key: &PublicKey, file: &Path) -> Result<(), Failure> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    learn_known_hosts_path(&way.host, way.port, key, file).map_err(|error| {
        let message = format!(
            "cannot put the host key on file in {}: {error}; name another file with --known-hosts",
            file.display()
        );
        Failure::new(FailureKind::LocalIo, message)
    })
}

/// A `@revoked` line counts for every host, which is stricter than it may be written.
fn is_revoked(files: &[PathBuf], key: &PublicKey) -> bool {
    let base64 = key.public_key_base64();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).any(|text| {
        let mut lines = text.lines().filter(|line| line.starts_with("@revoked"));
        lines.any(|line| line.split_ascii_whitespace().any(|word| word == base64))
    })
}

/// A host as known_hosts names it.
fn known_name(host: &str, port: u16) -> String {
    if port == 22 { host.into() } else { format!("[{host}]:{port}") }
}
