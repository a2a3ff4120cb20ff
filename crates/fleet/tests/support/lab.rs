//! A place for servers, with a key that they let in, and what is run on them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a test that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use virtmark_fleet::auth::{Auth, HostKeyPolicy, KnownHosts, Method};
use virtmark_fleet::map::HostMap;
use virtmark_fleet::ssh::{ClientConfig, SshOptions, SshTransport};
use virtmark_fleet::{FailureKind, Job, MachineRun, Need, ResultsDir, Source, Watch, run};
use virtmark_hypervisor::Cancel;

use crate::support::{ROOT, Sshd, make_key};

pub(crate) const ECHO: &str =
    "echo out $BENCH_ROOT; echo err >&2; echo 'virtmark: metric answer 42 ms better=lower'";

/// A place for servers, with a key that they let in.
pub(crate) struct Lab {
    pub(crate) directory: TempDir,
    pub(crate) key: PathBuf,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) cancel: Cancel,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        make_key(&key);
        Self { directory, key, policy: HostKeyPolicy::AcceptNew, cancel: Cancel::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn servers(&self, count: usize) -> Vec<Sshd> {
        (0..count).map(|at| Sshd::start(self.path(), &format!("vm-{at}"), &self.key)).collect()
    }

    pub(crate) fn job(&self, payload: &Path) -> Job {
        Job {
            id: "vmrun-test".into(),
            source: Source::read(payload).unwrap(),
            root: ROOT.into(),
            variables: BTreeMap::new(),
            tools: Vec::new(),
            absolute_paths: false,
            need: Need::All,
            ready_time: Some(Duration::from_secs(60)),
            transfer_time: Some(Duration::from_secs(120)),
            run_time: Some(Duration::from_secs(120)),
            retries: 1,
            parallel: NonZeroUsize::new(8).unwrap(),
        }
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.path().join("known_hosts")
    }

    pub(crate) fn transport(&self) -> SshTransport {
        let known_hosts = KnownHosts { policy: self.policy, file: Some(self.known_hosts()) };
        let method = Method::Key { file: self.key.clone(), passphrase: None };
        let auth = Auth { user: user(), method, known_hosts, exposed: false };
        SshTransport::new(SshOptions {
            auth: Some(auth),
            config: ClientConfig::default(),
            home: self.path().into(),
            user: None,
            local_user: user(),
            agent_socket: None,
            host_keys: None,
            known_hosts: None,
        })
        .unwrap()
    }

    pub(crate) fn run(&self, map: &str, job: &Job) -> (Vec<MachineRun>, ResultsDir) {
        self.run_watched(map, job, &())
    }

    pub(crate) fn run_watched(
        &self,
        map: &str,
        job: &Job,
        watch: &dyn Watch,
    ) -> (Vec<MachineRun>, ResultsDir) {
        let map = HostMap::from_bytes(map.as_bytes(), "map").unwrap();
        let parent = tempfile::tempdir_in(self.path()).unwrap().keep();
        let results = ResultsDir::create(&parent, &job.id).unwrap();
        let runs = run(&map, job, &self.transport(), &results, watch, &self.cancel);
        results.finish(&runs, &runs).unwrap();
        (runs, results)
    }
}

pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn map(servers: &[Sshd]) -> String {
    servers.iter().map(Sshd::line).collect()
}

pub(crate) fn kind(run: &MachineRun) -> Option<FailureKind> {
    run.failure.as_ref().map(|failure| failure.kind)
}

pub(crate) fn message(run: &MachineRun) -> &str {
    run.failure.as_ref().map_or("", |failure| &failure.message)
}
