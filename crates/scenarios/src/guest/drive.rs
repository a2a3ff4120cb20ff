//! A run: machines are made, what tools need is prepared, and then block after block.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Capability, Hypervisor};
use virtmark_model::Outcome;

use super::blocks::Blocks;
use super::failure::ToolFailure;
use super::machines::Running;
use super::network::{self, Held, Wiring};
use super::session::Session;
use super::side::{Bench, Side};
use super::{Guest, Suite, Test, Tool, reading, storage};
use crate::recorder::Recorder;
use crate::watch::watched;
use crate::{Context, Ending, Plan, Result};

impl Guest {
    /// Measures. `host` is the bare host as a platform. Every sample is in the sink before the next tool starts, and no
    /// machine is left when this returns.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    pub fn run(&self, context: Context<'_>, host: &dyn Hypervisor) -> Result<Ending> {
        let cancel = Cancel::new();
        let interrupt = context.interrupt;
        // A tool may run for a minute: a stop does not wait for it.
        watched(interrupt, None, || cancel.cancel(), || self.steps(context, host, &cancel)).0
    }

    fn steps(&self, context: Context<'_>, host: &dyn Hypervisor, cancel: &Cancel) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        progress.begin(Plan { warmups: 0, samples: self.samples() });
        let recorder = Recorder::new(sink, progress, started);
        let began = Instant::now();
        let mut session = Session::new(&self.plan.tests, &recorder, interrupt);

        let wiring = self.plan.has(Suite::Network).then(|| network::wiring(hypervisor));
        let network = wiring.as_ref().and_then(|wiring| Some(wiring.as_ref().ok()?.0.network(&self.plan)));
        let has_disks = hypervisor.capabilities().has(Capability::Disks);
        let client =
            Running::start(hypervisor, &self.client_spec(network.clone(), has_disks), observer, progress);
        let client = match client {
            Ok(client) => client,
            Err(failure) => return session.give_up(Side::Guest, &failure),
        };
        let bare = match Running::start(host, &self.host_spec(), None, progress) {
            Ok(bare) => bare,
            Err(failure) => return session.give_up(Side::Host, &failure),
        };

        let tools: BTreeSet<Tool> = self.plan.tests.iter().map(|test| test.tool()).collect();
        let tools: Vec<Tool> = tools.into_iter().collect();
        let threads = self.machine.vcpus.max(1);
        let mut inside = match Bench::new(Side::Guest, client.machine.as_ref(), threads, &tools, cancel) {
            Ok(bench) => bench,
            Err(failure) => return session.give_up(Side::Guest, &failure),
        };
        let mut outside = match Bench::new(Side::Host, bare.machine.as_ref(), threads, &tools, cancel) {
            Ok(bench) => bench,
            Err(failure) => return session.give_up(Side::Host, &failure),
        };
        inside.disks = has_disks.then(|| self.scratch.clone());
        session.close_missing(&inside)?;
        if session.is_over() {
            return Ok(Ending::Complete);
        }
        session.close_missing(&outside)?;

        // A second machine only where something will be run in it.
        let server = match network {
            Some(network) if session.has_open(Suite::Network) => {
                Some(Running::start(hypervisor, &self.server_spec(network), observer, progress))
            }
            _ => None,
        };
        // Ends with the machines, and before them.
        let mut held = Vec::new();
        match wiring {
            Some(Err(reason)) => session.skip(Suite::Network, &reason)?,
            Some(Ok((wiring, tcp_only))) => {
                inside.tcp_only = tcp_only;
                if let Some(server) = &server {
                    let ends = (&client, server.as_ref());
                    self.connect(&mut session, wiring, ends, &mut inside, &mut outside, &mut held)?;
                }
            }
            None => {}
        }
        session.close_without_udp(&inside)?;
        let files_bytes = reading::files_bytes(&inside);
        let is_host = hypervisor.facts().name == host.facts().name;
        for bench in [&mut inside, &mut outside] {
            if session.has_open(Suite::Storage) {
                progress.live(&format!("writing what fio works on: {}", bench.side));
                let prepared = storage::prepare(bench, &self.plan, &self.scratch, is_host);
                let of_storage = |test: Test| test.suite() == Suite::Storage;
                session.close_if_failed(bench.side, of_storage, prepared.err())?;
            }
        }
        if let Some(failure) = inside.silence() {
            return session.give_up(Side::Guest, &failure);
        }
        if interrupt.is_requested() {
            return Ok(Ending::Interrupted);
        }
        // Last: the other end of the network and fio's file are no part of what the tools may use.
        self.limits.apply(&outside, &recorder)?;
        let prepare = began.elapsed();
        let mut blocks = Blocks {
            guest: self,
            inside: &inside,
            outside: &outside,
            progress,
            interrupt,
            tools: Duration::ZERO,
            files_bytes,
        };
        let measured = Instant::now();
        let ending = blocks.run(&mut session, &recorder)?;
        let harness = measured.elapsed().saturating_sub(blocks.tools);
        for (metric, time) in
            [("time_prepare", prepare), ("time_tools", blocks.tools), ("time_harness", harness)]
        {
            let outcome = Outcome::Success { value: time.as_nanos() as f64 };
            let unit = virtmark_model::Unit::Ns;
            recorder.keep(metric, unit, Instant::now(), outcome, Vec::new(), Default::default())?;
        }
        Ok(ending)
    }

    /// Joins the two ends on both sides, and starts a server where a test needs one.
    fn connect(
        &self,
        session: &mut Session<'_>,
        wiring: Wiring,
        (client, server): (&Running<'_>, Result<&Running<'_>, &ToolFailure>),
        inside: &mut Bench<'_>,
        outside: &mut Bench<'_>,
        held: &mut Vec<Held>,
    ) -> Result<()> {
        let of_network = |test: Test| test.suite() == Suite::Network;
        let of_server = |test: Test| test.tool() == Tool::Iperf3;
        inside.network = wiring.as_str();
        let other = server.map_err(Clone::clone).and_then(|server| {
            let bench =
                Bench::new(Side::Guest, server.machine.as_ref(), inside.threads, &[], &inside.cancel)?;
            Ok((server, bench))
        });
        let (server, bench) = match other {
            Ok(other) => other,
            Err(failure) => {
                let message = format!("network tests need a second machine: {}", failure.message);
                let failure = ToolFailure { message, ..failure };
                return session.close_if_failed(Side::Guest, of_network, Some(failure));
            }
        };
        let Some(peer) = wiring.peer(client.machine.as_ref(), server.machine.as_ref(), &self.plan) else {
            return session.skip(Suite::Network, "the platform does not tell its machines' addresses");
        };
        inside.peer = Ok(peer);
        if session.needs(Tool::Iperf3, Side::Guest) {
            match network::serve_in_guest(&bench, &self.plan) {
                Ok(served) => held.push(served),
                Err(failure) => session.close_if_failed(Side::Guest, of_server, Some(failure))?,
            }
        }
        let end = network::join_on_host(outside, &self.plan);
        if session.needs(Tool::Iperf3, Side::Host) {
            match end.serve(outside, self.limits.server_list().as_deref()) {
                Ok(served) => held.push(served),
                Err(failure) => session.close_if_failed(Side::Host, of_server, Some(failure))?,
            }
        }
        held.push(end.hold());
        Ok(())
    }

    /// Samples, when nothing fails.
    fn samples(&self) -> u64 {
        let figures: usize = self.plan.tests.iter().map(|test| test.metrics().len() * 2).sum();
        let readings = [Suite::Memory, Suite::Storage].map(|suite| if self.plan.has(suite) { 3 } else { 0 });
        let each = figures + readings.iter().sum::<usize>() + Side::BOTH.len();
        // The two limits and the three times.
        u64::from(self.plan.blocks.get()) * each as u64 + 5
    }
}
