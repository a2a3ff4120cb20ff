//! Which tests are still to be run, and what goes on record of those that are not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use virtmark_model::Outcome;

use super::failure::ToolFailure;
use super::side::{Bench, Side};
use super::{Suite, Test, Tool};
use crate::recorder::Recorder;
use crate::{Ending, Interrupt, Result};

/// The tests of a run, with those that are over before their last block.
pub(super) struct Session<'a> {
    tests: &'a [Test],
    recorder: &'a Recorder<'a>,
    interrupt: &'a dyn Interrupt,
    closed: BTreeSet<(Test, Side)>,
}

impl<'a> Session<'a> {
    pub(super) fn new(tests: &'a [Test], recorder: &'a Recorder<'a>, interrupt: &'a dyn Interrupt) -> Self {
        Self { tests, recorder, interrupt, closed: BTreeSet::new() }
    }

    /// Whether a test is still run on a side. The host's figures say nothing without the guest's.
    pub(super) fn is_open(&self, test: Test, side: Side) -> bool {
        !self.closed.contains(&(test, Side::Guest)) && !self.closed.contains(&(test, side))
    }

    /// Whether any test of a suite is still run.
    pub(super) fn has_open(&self, suite: Suite) -> bool {
        self.tests.iter().any(|test| test.suite() == suite && self.is_open(*test, Side::Guest))
    }

    /// Whether any test of a tool is still run on a side.
    pub(super) fn needs(&self, tool: Tool, side: Side) -> bool {
        self.tests.iter().any(|test| test.tool() == tool && self.is_open(*test, side))
    }

    /// Whether no test is run any more.
    pub(super) fn is_over(&self) -> bool {
        !self.tests.iter().any(|test| self.is_open(*test, Side::Guest))
    }

    /// Closes every test whose tool is not there.
    pub(super) fn close_missing(&mut self, bench: &Bench<'_>) -> Result<()> {
        for test in self.tests.iter().filter(|test| !bench.has(test.tool())) {
            self.fail(*test, bench.side, &ToolFailure::missing(test.tool(), bench.side), BTreeMap::new())?;
        }
        Ok(())
    }

    /// Closes what a network that carries TCP alone has no way for.
    pub(super) fn close_without_udp(&mut self, bench: &Bench<'_>) -> Result<()> {
        let Some(reason) = &bench.tcp_only else { return Ok(()) };
        for test in [Test::IperfUdp, Test::Ping] {
            if self.tests.contains(&test) && self.is_open(test, Side::Guest) {
                self.skip_test(test, reason)?;
            }
        }
        Ok(())
    }

    /// Closes tests on one side, if what was to be prepared for them failed.
    pub(super) fn close_if_failed(
        &mut self,
        side: Side,
        concerns: impl Fn(Test) -> bool,
        failure: Option<ToolFailure>,
    ) -> Result<()> {
        // What the user's stop caused is no failure.
        let Some(failure) = failure.filter(|_| !self.interrupt.is_requested()) else { return Ok(()) };
        for test in self.tests.iter().filter(|test| concerns(**test)) {
            if self.is_open(*test, side) {
                self.fail(*test, side, &failure, BTreeMap::new())?;
                self.closed.insert((*test, side));
            }
        }
        Ok(())
    }

    /// Leaves out a suite that the platform cannot do.
    pub(super) fn skip(&mut self, suite: Suite, reason: &str) -> Result<()> {
        for test in self.tests.iter().filter(|test| test.suite() == suite) {
            if self.is_open(*test, Side::Guest) {
                self.skip_test(*test, reason)?;
            }
        }
        Ok(())
    }

    /// Keeps a failure of a test; it is not tried again when that could not but fail in the same way.
    pub(super) fn fail(
        &mut self,
        test: Test,
        side: Side,
        failure: &ToolFailure,
        mut labels: BTreeMap<String, String>,
    ) -> Result<()> {
        labels.insert("test".into(), test.as_str().into());
        labels.insert("tool".into(), test.tool().as_str().into());
        labels.insert("side".into(), side.as_str().into());
        failure.label(&mut labels);
        if failure.is_lasting {
            self.closed.insert((test, side));
        }
        let outcome = Outcome::Failure { class: failure.class, message: failure.message.clone() };
        let (metric, unit) = test.metric();
        self.recorder.keep(metric, unit, Instant::now(), outcome, Vec::new(), labels)
    }

    /// Ends a run in which a side is not there, or no longer: every test that is not over fails with the reason.
    pub(super) fn give_up(&mut self, side: Side, failure: &ToolFailure) -> Result<Ending> {
        if self.interrupt.is_requested() {
            return Ok(Ending::Interrupted);
        }
        for test in self.tests {
            if self.is_open(*test, side) {
                self.fail(*test, side, failure, BTreeMap::new())?;
            }
        }
        Ok(Ending::Stopped { class: failure.class, message: failure.message.clone() })
    }

    fn skip_test(&mut self, test: Test, reason: &str) -> Result<()> {
        self.closed.insert((test, Side::Guest));
        let (metric, unit) = test.metric();
        let labels = [("test".to_owned(), test.as_str().to_owned())].into();
        let outcome = Outcome::Skipped { reason: reason.into() };
        self.recorder.keep(metric, unit, Instant::now(), outcome, Vec::new(), labels)
    }
}
