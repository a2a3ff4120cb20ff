//! The run of a suite itself, and what earlier runs of it left to do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use virtmark_archive::{Archive, RunFilter, RunState, RunWriter};
use virtmark_model::{HypervisorFacts, Run, RunId, RunStatus, Sample};
use virtmark_suite::{SCENARIO, Turn, done, suite_of};

use super::{Loaded, command_line, order_name, seed};
use crate::environment::{self, Meter};
use crate::failure::Failure;
use crate::measure;
use crate::output;

/// What earlier runs of a suite did.
pub(super) struct Earlier {
    /// The suite's id.
    pub(super) id: String,
    /// Decides the order, where it is random.
    pub(super) seed: u64,
    /// What need not be run again.
    pub(super) done: BTreeSet<Turn>,
    pub(super) parts: Vec<Part>,
}

impl Earlier {
    /// What the archive has of the suite that `selector` names, which must be the one at hand.
    pub(super) fn find(archive: &Archive, selector: &str, loaded: &Loaded) -> anyhow::Result<Self> {
        let named = archive.run(selector)?.run;
        let Some(id) = suite_of(&named).map(str::to_owned) else {
            let message = format!(
                "run {} is no part of a suite; `virtmark runs --scenario suite` lists them",
                named.id
            );
            return Err(Failure::usage(message).into());
        };
        let first = archive.run(&id).with_context(|| format!("the first run of suite {id} is gone"))?.run;
        let before = &first.configuration["suite"];
        let now = content(loaded);
        let changed =
            now.as_object().into_iter().flatten().find(|(key, value)| before[key.as_str()] != **value);
        if let Some((key, _)) = changed {
            let message = format!(
                "suite {id} cannot be gone on with by {}: its {key} differ from what was begun; run it anew, or take the \
                 file as it was",
                loaded.name
            );
            return Err(Failure::usage(message).into());
        }
        let parts = parts(archive, &id)?;
        if let Some(part) = parts.iter().find(|part| part.goes_on()) {
            let message = format!("suite {id} is being run: wait for the end of {}, or stop it", part.run.id);
            return Err(Failure::usage(message).into());
        }
        if let Some(part) = parts.iter().find(|part| part.is_out_of_sight()) {
            output::people(&format!(
                "virtmark: {} has not ended, and its process cannot be seen from here: what it is at may be measured twice\n",
                part.run.id
            ));
        }
        let done = parts.iter().flat_map(|part| done(&part.samples)).collect();
        Ok(Self { seed: before["seed"].as_u64().unwrap_or_default(), id, done, parts })
    }
}

/// A run of the suite itself, which did a part of it.
pub(in crate::commands) struct Part {
    /// Of a process that is gone without having ended it, the status is that it was interrupted.
    pub(in crate::commands) run: Run,
    /// How its steps ended.
    pub(in crate::commands) samples: Vec<Sample>,
    state: RunState,
}

impl Part {
    /// Whether its process is at work.
    pub(in crate::commands) fn goes_on(&self) -> bool {
        self.state == RunState::Running
    }

    /// Whether it has not ended, as far as is known: its process belongs to another host or container.
    pub(in crate::commands) fn is_out_of_sight(&self) -> bool {
        self.state == RunState::Unknown
    }
}

/// The parts of a suite, oldest first.
pub(in crate::commands) fn parts(archive: &Archive, id: &str) -> anyhow::Result<Vec<Part>> {
    let filter = RunFilter { scenario: Some(SCENARIO.into()), ..RunFilter::default() };
    let mut parts = Vec::new();
    for stored in archive.runs(&filter)? {
        let mut run = stored.run;
        if suite_of(&run) != Some(id) {
            continue;
        }
        if stored.state == RunState::Killed {
            run.status = RunStatus::Interrupted;
        }
        let (samples, state) = (archive.samples(&run.id)?, stored.state);
        parts.push(Part { run, samples, state });
    }
    parts.reverse();
    Ok(parts)
}

/// The run of a suite while it lasts.
pub(super) struct Record {
    pub(super) run: Run,
    pub(super) samples: Vec<Sample>,
    started: Instant,
    writer: RunWriter,
    meter: Meter,
}

impl Record {
    pub(super) fn begin(
        archive: &Archive,
        loaded: &Loaded,
        earlier: Option<&Earlier>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let started_at = Timestamp::now();
        let id = RunId::new(SCENARIO, started_at, measure::random());
        let mut suite = content(loaded);
        suite["id"] = earlier.map_or(id.as_str(), |earlier| &earlier.id).into();
        suite["seed"] = seed.into();
        suite["file"] = loaded.name.as_str().into();
        suite["text"] = loaded.text.as_str().into();
        let facts = HypervisorFacts { name: SCENARIO.into(), ..HypervisorFacts::default() };
        let run = Run {
            id,
            scenario: SCENARIO.into(),
            started_at,
            finished_at: None,
            status: RunStatus::Running,
            configuration: json!({ "command_line": measure::command_line(), "suite": suite }),
            environment: environment::of(facts),
        };
        let writer = archive.begin(&run)?;
        Ok(Self { run, samples: Vec::new(), started: Instant::now(), writer, meter: Meter::start() })
    }

    /// The suite's id.
    pub(super) fn suite_id(&self) -> &str {
        suite_of(&self.run).unwrap_or(self.run.id.as_str())
    }

    /// Since the suite began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Number of the next sample.
    pub(super) fn next_seq(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Keeps the end of a step.
    pub(super) fn keep(&mut self, sample: Sample) -> anyhow::Result<()> {
        self.writer.record(&sample)?;
        self.samples.push(sample);
        Ok(())
    }

    /// Ends the run, and gives back the part of the suite that it did.
    pub(super) fn finish(mut self, status: RunStatus) -> anyhow::Result<Part> {
        self.meter.finish(&mut self.run.environment, self.samples.len() as u64);
        let finished_at = Timestamp::now();
        self.run.status = status;
        self.run.finished_at = Some(finished_at);
        self.writer.finish(status, finished_at, &self.run.environment)?;
        // Nobody is at it any more, however it ended.
        Ok(Part { run: self.run, samples: self.samples, state: RunState::Complete })
    }
}

/// What makes a suite the same: its steps and how they follow each other.
fn content(loaded: &Loaded) -> Value {
    let suite = &loaded.suite;
    let steps: Vec<Value> = suite
        .steps
        .iter()
        .map(|step| {
            json!({
                "label": step.label,
                "command": command_line(&step.arguments),
                "repetitions": step.repetitions,
                "cool_down_ns": u64::try_from(step.cool_down.as_nanos()).ok(),
            })
        })
        .collect();
    json!({
        "name": suite.name,
        "order": order_name(suite.order),
        "file_seed": seed(suite.order),
        "stop_on_failure": suite.stop_on_failure,
        "steps": steps,
    })
}
