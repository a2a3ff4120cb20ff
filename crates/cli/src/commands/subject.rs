//! A scenario with its options: what a command measures by itself, and what takes turns in a comparison.

use std::time::Duration;

use virtmark_scenarios::Blockwise;
use virtmark_scenarios::pace::Pace;

use super::present::{Form, present};
use crate::exit::Exit;
use crate::measure::{Request, measure};
use crate::platform::Platform;

/// What is measured, on which machines.
pub(crate) struct Subject<'a> {
    /// Everything that is not the scenario's own.
    pub(crate) request: Request<'a>,
    /// How many machines there are, and how they follow each other.
    pub(crate) pace: Pace,
    /// How long a machine may take.
    pub(crate) timeout: Duration,
    /// Whether machines are kept as snapshots.
    pub(crate) snapshots: bool,
    /// The scenario, once there is a platform for its machines.
    pub(crate) scenario: Scenario<'a>,
}

type Scenario<'a> = Box<dyn Fn(&Platform) -> anyhow::Result<Box<dyn Blockwise>> + 'a>;

impl Subject<'_> {
    /// Measures it by itself, and shows the run.
    pub(crate) fn measure(self, form: Form) -> anyhow::Result<Exit> {
        let Self { request, scenario, .. } = self;
        let quiet = request.quiet;
        let measured = measure(request, |platform, context| Ok(scenario(platform)?.run(context)?))?;
        present(&measured.run, &measured.samples, form, quiet)?;
        measured.exit()
    }
}
