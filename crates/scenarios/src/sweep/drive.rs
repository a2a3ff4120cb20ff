//! The runs of a sweep, one after the other.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{Hypervisor, MachineSpec};
use virtmark_load::{Arrivals, Cancel, Job, Load, TargetSpec, run_target};
use virtmark_model::{FailureClass, Sample};

use super::error::Error;
use super::level::{self, Ended};
use super::live::Live;
use super::plan::{Driven, SweepPlan};
use super::result::{METRIC, RunResult};
use super::row::Row;
use super::sandboxes::Sandboxes;
use super::schedule::Step;
use super::site::{Ground, Outfit, Site};
use crate::recorder::Recorder;
use crate::watch::watched;
use crate::{Context, Ending, Plan, Progress, is_permanent};

/// Machines in a row that do not get ready, after which a sweep ends.
const MACHINE_ATTEMPTS: u32 = 3;
/// Between two lines about a run.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// A sweep: what to do, and what to do it with.
pub struct SweepRun<'a> {
    /// What to do.
    pub plan: &'a SweepPlan,
    /// The runs to do, of those of the plan.
    pub steps: Vec<Step>,
    /// Every machine is made like this one, with the virtual CPUs of its size.
    pub machine: MachineSpec,
    /// What goes into each machine.
    pub outfit: Outfit,
    /// Where cgroups of targets on the bare host are made.
    pub run_dir: &'a RunDir,
    /// Where the plan finds its Redis, when the outfit has one.
    pub redis: Option<String>,
    /// The service, where one is driven.
    pub service: Option<Arc<dyn Hypervisor>>,
    /// What a reader of every row has to know.
    pub warnings: Vec<String>,
}

/// Takes each row when its run has ended, before the next one begins.
pub type Keep<'a> = dyn FnMut(Row) -> Result<(), Error> + 'a;

impl SweepRun<'_> {
    /// Measures. Every run is in the archive and with `keep` before the next one begins, and no machine is left when
    /// this returns.
    ///
    /// # Errors
    /// When a run cannot be kept.
    pub fn run(&self, context: Context<'_>, keep: &mut Keep<'_>) -> Result<Ending, Error> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        progress.begin(Plan { warmups: 0, samples: self.steps.len() as u64 });
        let runs_only = RunsOnly(progress);
        let recorder = Recorder::new(sink, &runs_only, started);
        let ground = Ground {
            hypervisor,
            template: &self.machine,
            outfit: &self.outfit,
            location: self.plan.location,
            run_dir: self.run_dir,
            memory_bytes: self.plan.memory_bytes,
            observer,
            progress,
            interrupt,
        };
        let mut course = Course {
            sweep: self,
            ground: &ground,
            recorder: &recorder,
            keep,
            live: Live::new(self.plan, &self.steps, progress),
            site: None,
            machines: 0,
            failed_machines: 0,
            next_sandbox: Arc::default(),
        };
        let ending = course.all();
        if let Some(site) = course.site.take() {
            site.close();
        }
        ending
    }
}

/// A sweep while it lasts.
struct Course<'a, 'k> {
    sweep: &'a SweepRun<'a>,
    ground: &'a Ground<'a>,
    recorder: &'a Recorder<'a>,
    keep: &'a mut Keep<'k>,
    live: Live<'a>,
    site: Option<Site<'a>>,
    /// Machines made so far.
    machines: u32,
    /// Of those, how many in a row did not get ready.
    failed_machines: u32,
    next_sandbox: Arc<AtomicU64>,
}

/// Whether a sweep goes on after a run.
enum Next {
    GoOn,
    Interrupted,
    Stop(FailureClass, String),
}

impl Course<'_, '_> {
    fn all(&mut self) -> Result<Ending, Error> {
        for step in &self.sweep.steps {
            if self.ground.interrupt.is_requested() {
                return Ok(Ending::Interrupted);
            }
            match self.one(*step)? {
                Next::GoOn => {}
                Next::Interrupted => return Ok(Ending::Interrupted),
                Next::Stop(class, message) => return Ok(Ending::Stopped { class, message }),
            }
        }
        Ok(Ending::Complete)
    }

    /// One run, kept.
    fn one(&mut self, step: Step) -> Result<Next, Error> {
        let plan = self.sweep.plan;
        let ready = match &plan.target {
            Driven::Generator { .. } => self.make_ready(step)?,
            Driven::Service { .. } => Ok(Vec::new()),
        };
        if self.ground.interrupt.is_requested() {
            return Ok(Next::Interrupted);
        }
        self.live.begin(step);
        let mut result = RunResult::begin(plan, step);
        let facts = self.ground.hypervisor.facts();
        result.row.platform = Some(
            [Some(facts.name.clone()), Some(facts.version.clone()), facts.execution()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        );
        result.row.emulated = Some(facts.is_emulated());
        self.sweep.warnings.iter().for_each(|words| result.warn(words.as_str()));
        let mut stop = None;
        match (ready, plan.spec(step.vcpus)) {
            (Err(error), _) => {
                result.fail(error.class(), error.to_string());
                if is_permanent(error.class()) || self.failed_machines >= MACHINE_ATTEMPTS {
                    stop = Some((error.class(), error.to_string()));
                }
            }
            (Ok(revived), Some(spec)) => {
                for end in revived {
                    result.warn(format!("before this run a service was started again: {end}"));
                }
                self.in_machine(step, spec, &mut result);
            }
            (Ok(_), None) => self.in_service(step, &mut result),
        }
        // What was cut off by the wish to stop is no result.
        if self.ground.interrupt.is_requested() {
            return Ok(Next::Interrupted);
        }
        result.detail("wall_ns", u64::try_from(result.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        result.record(self.recorder)?;
        (self.keep)(result.row)?;
        Ok(stop.map_or(Next::GoOn, |(class, message)| Next::Stop(class, message)))
    }

    /// Sees to it that there is a machine of the size, in which everything runs that has to. What was started again
    /// comes back; the inner error is the machine's.
    fn make_ready(&mut self, step: Step) -> Result<virtmark_hypervisor::Result<Vec<String>>, Error> {
        if let Some(site) = self.site.take_if(|site| site.vcpus != step.vcpus) {
            site.close();
        }
        if let Some(site) = &mut self.site {
            match site.revive_services() {
                Ok(revived) => return Ok(Ok(revived)),
                // A new machine is the next thing to try.
                Err(_) => self.drop_site(),
            }
        }
        self.live.note("starting a machine");
        self.machines += 1;
        let (boot, site) = Site::open(self.ground, step.vcpus, self.machines);
        if self.ground.interrupt.is_requested() {
            return Ok(Ok(Vec::new()));
        }
        self.recorder.record("boot", boot)?;
        Ok(match site {
            Ok(site) => {
                self.failed_machines = 0;
                self.site = Some(site);
                Ok(Vec::new())
            }
            Err(error) => {
                self.failed_machines += 1;
                Err(error)
            }
        })
    }

    fn drop_site(&mut self) {
        if let Some(site) = self.site.take() {
            site.close();
        }
    }

    /// A run by the generator's program in the machine.
    fn in_machine(&mut self, step: Step, mut spec: TargetSpec, result: &mut RunResult) {
        let plan = self.sweep.plan;
        if let (TargetSpec::Plan(plan), Some(address)) = (&mut spec, &self.sweep.redis) {
            plan.redis = Some(address.clone());
        }
        let Some(site) = &mut self.site else { return };
        let is_http = matches!(spec, TargetSpec::Http(_));
        let job = job(plan, step, spec);
        let live = &mut self.live;
        let ended = level::run(site, &job, plan.timeout(), &mut |progress| live.take(progress));
        site.warnings().iter().for_each(|words| result.warn(words.as_str()));
        let mut is_sound = true;
        match ended {
            Ended::Measured(outcome) => {
                result.take(&outcome);
                if is_http {
                    result.served_with(site.service_rss_kib());
                }
                // Requests that cannot be ended would disturb the next run.
                is_sound = outcome.stuck == 0;
            }
            Ended::Failed { exit_code, message } => {
                result.row.exit_code = Some(exit_code);
                result.row.timeout_killed = Some(false);
                result.fail(FailureClass::Other, message);
            }
            Ended::TimedOut => {
                result.time_out(plan.timeout());
                is_sound = false;
            }
            Ended::Broken(error) => {
                let class = class_of(&error, &site.console_tail());
                result.fail(class, error.to_string());
                is_sound = false;
            }
        }
        if is_sound {
            let kills = site.new_oom_kills();
            if kills > 0 {
                starved(result, kills);
                // What the kernel left standing is not what was begun with.
                is_sound = false;
            }
            for end in site.ended_services() {
                result.warn(format!("a service ended during this run: {end}"));
            }
        }
        if !is_sound {
            self.drop_site();
        }
    }

    /// A run against a service, driven from here.
    fn in_service(&mut self, step: Step, result: &mut RunResult) {
        let plan = self.sweep.plan;
        let (Driven::Service { command, per_request, .. }, Some(service)) =
            (&plan.target, &self.sweep.service)
        else {
            return;
        };
        let target = Sandboxes {
            service: Arc::clone(service),
            template: MachineSpec { vcpus: step.vcpus, ..self.sweep.machine.clone() },
            command: command.clone(),
            per_request: *per_request,
            next: Arc::clone(&self.next_sandbox),
        };
        let load = Load {
            arrivals: arrivals(step),
            warmup_iterations: plan.warmup,
            duration: plan.duration(),
            request_timeout: plan.request_timeout(),
            progress_interval: PROGRESS_INTERVAL,
        };
        let live = &mut self.live;
        let mut on_progress = |progress| live.take(progress);
        let cancel = Cancel::new();
        let stop = || cancel.cancel();
        let ended = watched(self.ground.interrupt, Some(plan.timeout()), stop, || {
            run_target(&target, &load, &mut on_progress, &cancel)
        });
        match ended {
            (_, true) => result.time_out(plan.timeout()),
            (Ok(outcome), false) => {
                result.take(&outcome);
                // Its processes are elsewhere.
                result.served_with(None);
            }
            (Err(error), false) => {
                result.row.exit_code = Some(1);
                result.row.timeout_killed = Some(false);
                result.fail(FailureClass::Other, error.to_string());
            }
        }
    }
}

/// The kernel had to kill for want of memory.
fn starved(result: &mut RunResult, kills: u64) {
    let words = format!("the memory ran out: the kernel killed {kills} processes; give more with --memory");
    result.detail("oom_kills", kills);
    match &result.failure {
        Some((_, message)) => {
            let message = format!("{words}; {message}");
            result.fail(FailureClass::OutOfMemory, message);
        }
        None => result.warn(words),
    }
}

/// A guest that ends for want of memory says so on its console and nowhere else.
fn class_of(error: &virtmark_hypervisor::Error, console: &str) -> FailureClass {
    const MARKS: [&str; 3] = ["Out of memory", "deadlocked on memory", "oom-kill"];
    if MARKS.iter().any(|mark| console.contains(mark)) { FailureClass::OutOfMemory } else { error.class() }
}

fn job(plan: &SweepPlan, step: Step, target: TargetSpec) -> Job {
    let ns = |time: Duration| {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        NonZeroU64::new(ns).unwrap_or(NonZeroU64::MIN)
    };
    Job {
        target,
        arrivals: arrivals(step),
        warmup_iterations: plan.warmup,
        duration_ns: ns(plan.duration()),
        request_timeout_ns: ns(plan.request_timeout()),
        progress_interval_ns: ns(PROGRESS_INTERVAL),
    }
}

fn arrivals(step: Step) -> Arrivals {
    let count = NonZeroUsize::new(step.concurrency as usize);
    let concurrency = count.unwrap_or(NonZeroUsize::MIN);
    match step.rate_per_second {
        None => Arrivals::Closed { concurrency },
        Some(rate_per_s) => Arrivals::Open { rate_per_s, concurrency },
    }
}

/// Shows one sample for each run, however many it has.
struct RunsOnly<'a>(&'a dyn Progress);

impl Progress for RunsOnly<'_> {
    fn begin(&self, plan: Plan) {
        self.0.begin(plan);
    }

    fn warmed_up(&self) {
        self.0.warmed_up();
    }

    fn recorded(&self, sample: &Sample) {
        if sample.metric == METRIC || sample.outcome.failure().is_some() {
            self.0.recorded(sample);
        }
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}
