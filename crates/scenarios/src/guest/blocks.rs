//! Block after block: every test once on either side, the order changing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Command, MachineState};
use virtmark_model::{Outcome, Unit};

use super::session::Session;
use super::side::{Bench, Side};
use super::{Guest, Suite, Test, reading};
use crate::recorder::Recorder;
use crate::{Ending, Interrupt, Progress, Result};

/// The measuring part of a run.
pub(super) struct Blocks<'a> {
    pub(super) guest: &'a Guest,
    pub(super) inside: &'a Bench<'a>,
    pub(super) outside: &'a Bench<'a>,
    pub(super) progress: &'a dyn Progress,
    pub(super) interrupt: &'a dyn Interrupt,
    /// The time that passed in tools, with the way to them and back.
    pub(super) tools: Duration,
    /// Bytes of the machine's files before the guest wrote anything to measure by.
    pub(super) files_bytes: Option<u64>,
}

impl Blocks<'_> {
    pub(super) fn run(&mut self, session: &mut Session<'_>, recorder: &Recorder<'_>) -> Result<Ending> {
        let plan = &self.guest.plan;
        for block in 0..plan.blocks.get() {
            if session.is_over() {
                break;
            }
            self.read(block, session, recorder)?;
            if let Some(failure) = self.inside.silence() {
                return session.give_up(Side::Guest, &failure);
            }
            for (at, test) in plan.tests.iter().enumerate() {
                // So that neither side always comes first, in no block and for no test.
                let guest_first = (block as usize + at).is_multiple_of(2);
                let sides = if guest_first { Side::BOTH } else { [Side::Host, Side::Guest] };
                for (order, side) in sides.into_iter().enumerate() {
                    if self.interrupt.is_requested() {
                        return Ok(Ending::Interrupted);
                    }
                    if session.is_open(*test, side)
                        && let Some(ending) = self.measure(*test, side, block, order, session, recorder)?
                    {
                        return Ok(ending);
                    }
                }
            }
        }
        Ok(Ending::Complete)
    }

    /// One use of a tool. Gives an ending when its machine is gone.
    fn measure(
        &mut self,
        test: Test,
        side: Side,
        block: u32,
        order: usize,
        session: &mut Session<'_>,
        recorder: &Recorder<'_>,
    ) -> Result<Option<Ending>> {
        let plan = &self.guest.plan;
        self.progress.live(&format!("block {} of {}: {test} on the {side}", block + 1, plan.blocks));
        let bench = self.bench(side);
        let started = Instant::now();
        let (result, took) = bench.run(test, plan);
        self.tools += took;
        let bench = self.bench(side);
        let labels = labels(test, bench, block, order);
        match result {
            Ok(values) => {
                for ((metric, unit), value) in test.metrics().iter().zip(values) {
                    let Some(value) = value else { continue };
                    let outcome = Outcome::Success { value };
                    recorder.keep(metric, *unit, started, outcome, Vec::new(), labels.clone())?;
                }
                Ok(None)
            }
            // What the user's stop caused is no failure.
            Err(_) if self.interrupt.is_requested() => Ok(Some(Ending::Interrupted)),
            Err(failure) => {
                session.fail(test, side, &failure, labels)?;
                if let Some(silence) = bench.silence() {
                    return session.give_up(side, &silence).map(Some);
                }
                let gone = bench.machine.state() != MachineState::Running;
                Ok(gone.then_some(Ending::Stopped { class: failure.class, message: failure.message }))
            }
        }
    }

    /// What is read at the start of a block, when no tool runs.
    fn read(&self, block: u32, session: &Session<'_>, recorder: &Recorder<'_>) -> Result<()> {
        for bench in [self.inside, self.outside] {
            let started = Instant::now();
            let (answer, took) = bench.exec(&Command::argv(["true"]));
            if answer.is_ok() {
                let labels = [
                    ("side".to_owned(), bench.side.as_str().to_owned()),
                    ("block".to_owned(), block.to_string()),
                ];
                let outcome = Outcome::Success { value: took.as_nanos() as f64 };
                recorder.keep("exec_round_trip", Unit::Ns, started, outcome, Vec::new(), labels.into())?;
            }
        }
        if session.has_open(Suite::Memory) {
            reading::memory(self.inside, self.guest.machine.memory_bytes, block, recorder)?;
        }
        if session.has_open(Suite::Storage) {
            let written_bytes = self.guest.plan.file_bytes;
            reading::storage(self.inside, self.files_bytes, written_bytes, block, recorder)?;
        }
        Ok(())
    }

    fn bench(&self, side: Side) -> &Bench<'_> {
        match side {
            Side::Guest => self.inside,
            Side::Host => self.outside,
        }
    }
}

/// What tells a sample from others of its metric.
fn labels(test: Test, bench: &Bench<'_>, block: u32, order: usize) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("test".to_owned(), test.as_str().to_owned()),
        ("tool".to_owned(), test.tool().as_str().to_owned()),
        ("side".to_owned(), bench.side.as_str().to_owned()),
        ("block".to_owned(), block.to_string()),
        ("order".to_owned(), order.to_string()),
    ]);
    if let Some(version) = bench.version(test.tool()) {
        labels.insert("tool_version".into(), version.to_owned());
    }
    match test.suite() {
        Suite::Network => {
            labels.insert("network".into(), bench.network.into());
        }
        Suite::Storage => {
            if let Some(target) = &bench.target {
                labels.insert("direct".into(), target.direct.to_string());
                labels.insert("target".into(), if target.is_device { "device" } else { "file" }.into());
            }
        }
        Suite::Cpu | Suite::Memory => {}
    }
    labels
}
