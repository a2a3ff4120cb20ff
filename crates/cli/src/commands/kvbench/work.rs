//! The machines of a bench, and its steps on them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use virtmark_archive::Archive;
use virtmark_fleet::bench::{Step, Via, Work};
use virtmark_fleet::provider::Replicas;
use virtmark_fleet::ssh::{ClientConfig, SshOptions, SshTransport};
use virtmark_fleet::{AgentTransport, Transport, Verdict};
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::Cancel;

use super::plan::Bench;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::payload_run::{self, Ran, Request};
use crate::platform::{Platform, Prepared};
use crate::progress::Progress;
use crate::replicas::{self, KNOWN_HOSTS, Wanted};

/// The directory in that of the run for what is needed to enter machines; no machine has this name, as theirs end with a
/// number.
const DIRECTORY: &str = "kvbench";

/// What progress is told as.
pub(super) const SCENARIO: &str = "kvbench";

/// Carries a bench out.
pub(super) struct Carrier<'a> {
    bench: &'a Bench,
    /// What the machines boot, until they do.
    prepared: Option<Prepared>,
    archive: &'a Archive,
    interrupt: &'a Interrupt,
    cancel: &'a Cancel,
    progress: &'a Progress,
    quiet: bool,
    up: Option<Up>,
    took: Option<Duration>,
}

/// What is there while machines are.
struct Up {
    transport: Arc<dyn Transport>,
    /// Last: it holds what the machines need.
    platform: Platform,
}

/// What is known of the set-up, once all machines were ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) took: Duration,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(
        bench: &'a Bench,
        prepared: Option<Prepared>,
        archive: &'a Archive,
        interrupt: &'a Interrupt,
        cancel: &'a Cancel,
        (progress, quiet): (&'a Progress, bool),
    ) -> Self {
        Self { bench, prepared, archive, interrupt, cancel, progress, quiet, up: None, took: None }
    }

    pub(super) fn setup(&self) -> Option<Setup> {
        self.took.map(|took| Setup { took })
    }

    fn transport(&self, platform: &Platform, machines: &Replicas) -> anyhow::Result<Arc<dyn Transport>> {
        if self.bench.via == Via::Agent {
            return Ok(Arc::new(AgentTransport::new(machines.links())));
        }
        let known_hosts = platform.run_dir.machine_dir(DIRECTORY)?.join(KNOWN_HOSTS);
        fs::write(&known_hosts, machines.known_hosts())
            .map_err(|error| crate::output::on(error, &known_hosts))?;
        let login = replicas::login(&known_hosts)?;
        let options = SshOptions {
            auth: Some(login.auth()),
            // Nothing that the user has configured for other machines.
            config: ClientConfig::default(),
            home: Default::default(),
            user: None,
            local_user: login.user,
            agent_socket: None,
            host_keys: None,
            known_hosts: None,
        };
        Ok(Arc::new(SshTransport::new(options).context("cannot start the threads for SSH")?))
    }
}

impl Work for Carrier<'_> {
    type Error = anyhow::Error;

    fn set_up(&mut self) -> anyhow::Result<Replicas> {
        let prepared = self.prepared.take().context("what machines boot was not prepared")?;
        let machine = self.bench.machine();
        let platform = replicas::open(&machine, prepared, self.interrupt, self.progress)?;
        let platform = platform.ok_or_else(|| Failure {
            exit: Exit::Signaled(self.interrupt.signal().unwrap_or(2)),
            message: "stopped before the machines were set up".into(),
        })?;
        let machines = &self.bench.file.machines;
        let wanted = Wanted {
            machine: &machine,
            count: machines.count.get().into(),
            prefix: &machines.name,
            door: self.bench.door(),
            network: self.bench.network(),
            outbound: machines.outbound,
            parallel: machines.parallel,
            time: machines.timeout.0,
        };
        let (replicas, took) = replicas::set_up(&wanted, &platform, self.progress, self.cancel)?;
        let transport = self.transport(&platform, &replicas)?;
        self.took = Some(took);
        self.up = Some(Up { transport, platform });
        Ok(replicas)
    }

    fn run(&mut self, step: &Step, machines: &Replicas) -> anyhow::Result<(String, Verdict, Option<String>)> {
        let up = self.up.as_ref().context("there are no machines")?;
        let id = payload_run::new_id();
        let run = id.to_string();
        let job = self.bench.job(step, &run, machines.map());
        let more = json!({
            "bench": {
                "name": self.bench.name,
                "repetition": step.repetition,
                "via": self.bench.via,
                "machines": self.bench.file.machines,
            }
        });
        let request = Request {
            id,
            payload: &self.bench.payloads[step.payload].0,
            job: &job,
            map: machines.map(),
            transport: up.transport.as_ref(),
            archive: self.archive,
            output: &self.bench.results,
            hypervisor: up.platform.hypervisor.facts().clone(),
            image: up.platform.image_facts.clone(),
            more,
        };
        // Each run is counted by itself.
        let progress = Progress::new(SCENARIO, self.quiet);
        let Ran { report, verdict, kept } =
            payload_run::carry_out(request, self.interrupt, self.cancel, &progress)?;
        kept?;
        let mut bad = report.machines.iter().filter(|machine| !machine.succeeded);
        let first = bad.next().map(|machine| {
            let why = machine.message.as_deref().unwrap_or("nothing was run");
            match bad.count() {
                0 => why.to_owned(),
                more => format!("{why}; and {more} more"),
            }
        });
        Ok((run, verdict, first))
    }

    fn tear_down(&mut self, machines: Replicas) {
        // Sessions first: what they reach goes.
        let up = self.up.take();
        let platform = up.map(|Up { transport, platform }| {
            drop(transport);
            platform
        });
        for (name, error) in machines.tear_down() {
            self.progress.note(&format!("{name} could not be destroyed, the next start does it: {error}"));
        }
        drop(platform);
    }

    fn payload(&self, at: usize) -> String {
        self.bench.payload_name(at)
    }
}
