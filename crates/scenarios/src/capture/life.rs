//! One life: create, start, the workload with its phases, destroy.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use virtmark_hypervisor::{
    Command, Error, ExecStatus, Hypervisor, Machine, MachineSpec, Observer, OutputStream, Result,
};
use virtmark_model::Stopwatch;

use super::coverage::Course;
use super::{Capture, WORKLOAD_PHASES};
use crate::Progress;
use crate::destroy::end;
use crate::trial::Trial;

/// Where the workload is put in the guest.
const PATH: &str = "/tmp/virtmark-workload";
/// What the workload says when it is over.
const END: &str = "end";

/// What a life leaves.
pub(super) struct Life {
    pub(super) trial: Trial,
    /// When what happened; absent when it failed.
    pub(super) course: Option<Course>,
}

impl Capture {
    /// A machine's whole life; it is gone when this returns.
    pub(super) fn live(
        &self,
        hypervisor: &dyn Hypervisor,
        observer: Option<&dyn Observer>,
        progress: &dyn Progress,
        duration_s: u32,
        repeat: u32,
    ) -> Life {
        let name = format!("capture-{duration_s}s-{repeat}");
        let mut spec = MachineSpec { name, ..self.machine.clone() };
        spec.kernel_arguments.push(format!("workload_duration={duration_s}"));
        let labels = BTreeMap::from([
            ("machine".to_owned(), spec.name.clone()),
            ("duration_s".to_owned(), duration_s.to_string()),
            ("repeat".to_owned(), repeat.to_string()),
        ]);
        let (mut watch, wall_ns) = (Stopwatch::start(), unix_ns());
        let mut machine = None;
        let limit = Duration::from_secs(u64::from(duration_s) + u64::from(self.plan.timeout_s));
        let lived = self.steps(hypervisor, observer, &spec, limit, &mut watch, &mut machine);
        if let Some(mut machine) = machine {
            // Told, and none of the life's samples.
            let _ = end(machine.as_mut(), observer, progress);
        }
        match lived {
            Ok(()) => {
                let trial = Trial::success(watch, labels);
                let course = Course::new(&spec.name, wall_ns, &trial.phases);
                Life { trial, course: Some(course) }
            }
            Err((step, error)) => Life { trial: Trial::failure(watch, labels, step, &error), course: None },
        }
    }

    fn steps(
        &self,
        hypervisor: &dyn Hypervisor,
        observer: Option<&dyn Observer>,
        spec: &MachineSpec,
        limit: Duration,
        watch: &mut Stopwatch,
        kept: &mut Option<Box<dyn Machine>>,
    ) -> Result<(), (&'static str, Error)> {
        let called = Instant::now();
        let (machine, timeline) = hypervisor.create(spec).map_err(|error| ("create", error))?;
        watch.append(timeline, called);
        let machine = kept.insert(machine);
        if let Some(observer) = observer {
            observer.created(machine.as_ref());
        }
        let called = Instant::now();
        let timeline = machine.start().map_err(|error| ("start", error))?;
        watch.append(timeline, called);
        if let Some(observer) = observer {
            observer.running(machine.as_ref());
        }
        let done = self.work(machine.as_ref(), limit, watch);
        done.map_err(|error| ("workload", machine.explain(error)))
    }

    /// Runs the workload. A phase ends when the next one's name arrives.
    fn work(&self, machine: &dyn Machine, limit: Duration, watch: &mut Stopwatch) -> Result<()> {
        let guest = machine.guest()?;
        guest.put(&mut self.workload.as_bytes(), self.workload.len() as u64, PATH, 0o755)?;
        let mut command = Command::argv(["/bin/sh", PATH]);
        command.timeout = Some(limit);
        let mut handle = guest.spawn(&command)?;
        let (mut said, mut complaints, mut current) = (Vec::new(), Vec::new(), "upload");
        while let Some(chunk) = handle.next_output()? {
            let at = Instant::now();
            if chunk.stream == OutputStream::Stderr {
                complaints.extend(chunk.data);
                continue;
            }
            said.extend(chunk.data);
            while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = said.drain(..=end).collect();
                let word = line.trim_ascii();
                let next = WORKLOAD_PHASES.into_iter().chain([END]).find(|name| name.as_bytes() == word);
                if let Some(next) = next {
                    watch.mark_at(current, at);
                    current = next;
                }
            }
        }
        let (status, _) = handle.wait()?;
        match status {
            ExecStatus::TimedOut => Err(Error::Timeout {
                machine: machine.name().into(),
                request: "the workload".into(),
                timeout: limit,
                console: machine.console_tail(),
            }),
            ExecStatus::Exited(0) if current == END => Ok(()),
            other => Err(Error::AgentRefused {
                machine: machine.name().into(),
                request: "run the workload to its end".into(),
                reason: format!(
                    "it ended with {other:?} in {current}: {}",
                    String::from_utf8_lossy(&complaints).trim()
                ),
            }),
        }
    }
}

/// The wall clock, in nanoseconds since 1970, as monitoring data are stamped.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A plan's usual lengths.
impl Default for super::CapturePlan {
    fn default() -> Self {
        let seconds = [15, 30, 45].map(|seconds| NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN));
        Self { durations_s: seconds.to_vec(), repeat: NonZeroU32::MIN, timeout_s: 90 }
    }
}
