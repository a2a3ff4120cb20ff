//! One machine from its first answer to its result.

use std::time::{Duration, Instant};

use virtmark_hypervisor::Cancel;
use virtmark_payload::metric::Results;

use crate::fleet::{Places, Watch};
use crate::gate::{Gate, pause};
use crate::outcome::{MachineRun, nanoseconds};
use crate::results::ResultsDir;
use crate::transport::{End, Kept, Session, Transport};
use crate::{Failure, FailureKind, Job, Limit, Stage, StageTime, far, map, script};

/// Between two attempts to reach a machine that is starting: from the first to the second, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the machine may say nothing to the first attempt; to the next twice as long, up to the limit that a transport has itself.
/// What forwards a port takes connections before there is anybody behind it, and a long wait for those would pass over the machine's
/// start. One that has said something is given its time: a login takes a busy machine seconds.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);
/// How long a command that does nothing may take.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Between an upload that failed and the next: a machine that restarts needs some seconds.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How long it may take to remove what was carried to a machine on which nothing is run.
const TIDY_TIME: Duration = Duration::from_secs(2);

/// What all machines of a run share.
pub(crate) struct Common<'a> {
    pub(crate) job: &'a Job,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) results: &'a ResultsDir,
    pub(crate) watch: &'a dyn Watch,
    pub(crate) cancel: &'a Cancel,
    pub(crate) gate: &'a Gate,
    pub(crate) places: &'a Places,
    pub(crate) started: Instant,
}

/// Takes one machine through all stages.
pub(crate) fn live(common: &Common<'_>, machine: &map::Machine) -> MachineRun {
    let mut life = Life { common, machine, run: MachineRun::new(machine.clone()) };
    if let Err(failure) = life.pass() {
        life.run.failed_stage = life.run.stages.last().map(|time| time.stage);
        life.run.failure = Some(failure);
    }
    life.run.succeeded = life.run.failure.is_none();
    if let Err(failure) = common.results.write_machine(&life.run) {
        life.run.succeeded = false;
        life.run.failure.get_or_insert(failure);
    }
    life.run
}

struct Life<'a> {
    common: &'a Common<'a>,
    machine: &'a map::Machine,
    run: MachineRun,
}

impl Life<'_> {
    fn pass(&mut self) -> Result<(), Failure> {
        let common = self.common;
        let ticket = common.gate.ticket();
        let mut session = self.stage(Stage::Ready, Self::wait)?;
        ticket.ready();
        if !common.gate.pass() {
            let (ready, need) = (common.gate.ready(), common.job.need);
            let message = format!("{ready} machines were ready, {need} are needed; nothing was run");
            return Err(Failure::new(FailureKind::NotRun, message));
        }
        let _place = common.places.take();
        let mut carried = Vec::new();
        let brought = self.bring(&mut session, &mut carried);
        let mut keeper = match brought.and_then(|()| common.results.keep(&self.machine.name)) {
            Ok(keeper) => keeper,
            Err(failure) => {
                tidy(session.as_deref_mut(), &carried);
                return Err(failure);
            }
        };
        let mut was_sent = false;
        let ran = self.stage(Stage::Run, |life, _| {
            let session = session.as_mut().ok_or_else(no_session)?;
            was_sent = true;
            let limit = Limit::within(common.job.run_time, common.cancel);
            // Together, as a script of its own would cost every machine another one.
            let run = script::run(&common.job.root, &common.job.variables);
            let script = format!("{}; {run}", script::remove(&carried));
            let end = session.exec(&script, &limit, &mut keeper).map_err(in_the_run)?;
            life.ended(end)
        });
        if !was_sent {
            tidy(session.as_deref_mut(), &carried);
        }
        (self.run.stdout_bytes, self.run.stderr_bytes) = (keeper.stdout_bytes, keeper.stderr_bytes);
        // What came home of a payload that failed is worth as much.
        let collected = self.collect(&mut keeper, ran.is_ok());
        ran.and(collected)
    }

    /// Keeps the time of a stage, and the attempts that it counts.
    fn stage<T>(
        &mut self,
        stage: Stage,
        act: impl FnOnce(&mut Self, &mut u32) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // What is there already is always collected.
        if stage != Stage::Collect && self.common.cancel.is_cancelled() {
            let message = format!("stopped before the stage {}", stage.as_str());
            return Err(Failure::new(FailureKind::Interrupted, message));
        }
        self.common.watch.stage(self.machine, stage);
        let (begun, mut attempts) = (Instant::now(), 1);
        let started_ns = nanoseconds(begun.duration_since(self.common.started));
        // On record while it lasts: a failure is in the last stage of the list.
        self.run.stages.push(StageTime { stage, started_ns, duration_ns: 0, attempts });
        let result = act(self, &mut attempts);
        if let Some(time) = self.run.stages.last_mut() {
            (time.duration_ns, time.attempts) = (nanoseconds(begun.elapsed()), attempts);
        }
        result
    }

    /// Tries until a command is answered.
    fn wait(&mut self, attempts: &mut u32) -> Result<Option<Box<dyn Session>>, Failure> {
        let common = self.common;
        let limit = Limit::within(common.job.ready_time.or(Some(ANSWER_TIME)), common.cancel);
        let (mut rest, mut patience) = (FIRST_PAUSE, FIRST_PATIENCE);
        if common.job.ready_time.is_none() {
            patience = LONGEST_PATIENCE;
        }
        loop {
            let failure = match self.reach(&limit.at_most(patience), &limit) {
                Ok(session) => return Ok(Some(session)),
                Err(failure) => failure,
            };
            if common.cancel.is_cancelled() {
                return Err(Failure::new(FailureKind::Interrupted, "stopped while waiting for the machine"));
            }
            let once = common.job.ready_time.is_none();
            if once || !failure.kind.may_pass() || common.gate.is_hopeless() {
                return Err(failure);
            }
            if limit.left().is_some_and(|left| left <= rest) {
                let waited = common.job.ready_time.unwrap_or_default();
                let message = format!("not ready within {waited:?}: {}", failure.message);
                return Err(Failure::new(failure.kind, message));
            }
            common.watch.waiting(self.machine, &failure);
            pause(common.cancel, rest);
            rest = (rest * 2).min(LONGEST_PAUSE);
            patience = (patience * 2).min(LONGEST_PATIENCE);
            *attempts += 1;
        }
    }

    /// Logs in and has a command answered, each within its limit.
    fn reach(&self, answer: &Limit, limit: &Limit) -> Result<Box<dyn Session>, Failure> {
        let mut session = self.common.transport.open(self.machine, answer, limit)?;
        let mut kept = Kept::default();
        let answered = session.exec(script::ready(), &limit.at_most(ANSWER_TIME), &mut kept)?;
        match answered {
            End::Exited(0) => Ok(session),
            End::TimedOut => {
                Err(Failure::new(FailureKind::Unreachable, "the machine let us in, but answered no command"))
            }
            other => {
                let words = kept.last_words().unwrap_or_else(|| format!("it ended with {other:?}"));
                Err(far::explain(FailureKind::Other, "run a command on the machine", &words))
            }
        }
    }

    /// Does something that may be done twice, on a new connection where the one at hand is lost.
    fn again<T>(
        &mut self,
        session: &mut Option<Box<dyn Session>>,
        attempts: &mut u32,
        mut act: impl FnMut(&mut dyn Session, &Limit) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let limit = Limit::within(self.common.job.transfer_time, self.common.cancel);
        loop {
            let result = match session {
                Some(session) => act(session.as_mut(), &limit),
                None => {
                    self.reach(&limit, &limit).and_then(|fresh| act(session.insert(fresh).as_mut(), &limit))
                }
            };
            let failure = match result {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let may_pass = failure.kind.may_pass() || failure.kind == FailureKind::ChecksumMismatch;
            if !may_pass || *attempts > self.common.job.retries || limit.passed() {
                return Err(failure);
            }
            self.common.watch.waiting(self.machine, &failure);
            *session = None;
            if pause(self.common.cancel, RETRY_PAUSE) {
                return Err(Failure::new(FailureKind::Interrupted, "stopped before the next attempt"));
            }
            *attempts += 1;
        }
    }

    /// Uploads the payload and unpacks it; what is on the machine afterwards and has to go is in `carried`.
    fn bring(
        &mut self,
        session: &mut Option<Box<dyn Session>>,
        carried: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let job = self.common.job;
        let place = format!("{}/.{}-{}", job.root.trim_end_matches('/'), job.id, self.machine.name);
        self.stage(Stage::Upload, |life, attempts| {
            life.again(session, attempts, |session, limit| {
                // Another file each time: what a lost connection left running may still write its own, and remove it. No
                // name of a machine has a `+` in it.
                let attempt = carried.len() + 1;
                // There may be no room for both.
                tidy(Some(&mut *session), carried);
                let file =
                    if attempt == 1 { format!("{place}.tgz") } else { format!("{place}+{attempt}.tgz") };
                carried.push(file.clone());
                session.put(&job.source, &file, limit)
            })
        })?;
        let Some(file) = carried.last() else { return Err(no_session()) };
        self.stage(Stage::Unpack, |life, attempts| life.unpack(session, attempts, file))
    }

    fn unpack(
        &mut self,
        session: &mut Option<Box<dyn Session>>,
        attempts: &mut u32,
        file: &str,
    ) -> Result<(), Failure> {
        let job = self.common.job;
        let unpacking = script::unpack(file, &job.root, job.absolute_paths, &job.tools);
        self.again(session, attempts, |session, limit| {
            let mut kept = Kept::default();
            let end = session.exec(&unpacking, limit, &mut kept)?;
            let words = || kept.last_words().unwrap_or_else(|| format!("it ended with {end:?}"));
            match end {
                End::Exited(0) => Ok(()),
                End::TimedOut => {
                    Err(Failure::new(FailureKind::TimedOut, "unpacking did not end in time; give it longer"))
                }
                _ => Err(far::explain(
                    FailureKind::UnpackFailed,
                    "unpack the payload on the machine",
                    &words(),
                )),
            }
        })
    }

    fn ended(&mut self, end: End) -> Result<(), Failure> {
        let failed = |message| Err(Failure::new(FailureKind::PayloadFailed, message));
        match end {
            End::Exited(code) => {
                self.run.exit_code = Some(code);
                if code == 0 {
                    return Ok(());
                }
                failed(format!("the payload ended with exit code {code}; its standard error may say why"))
            }
            End::Signaled(signal) => {
                let message = format!("the payload was killed by signal {signal}");
                self.run.signal = Some(signal);
                failed(message)
            }
            End::TimedOut => {
                let limit = self.common.job.run_time.unwrap_or_default();
                let message =
                    format!("the payload ran for longer than {limit:?} and was killed; give it longer");
                Err(Failure::new(FailureKind::TimedOut, message))
            }
        }
    }

    fn collect(&mut self, keeper: &mut crate::results::Keeper, is_stage: bool) -> Result<(), Failure> {
        let mut attempt = |life: &mut Self| {
            let stdout = keeper.finish()?;
            life.run.results = Results::read(stdout).map_err(|error| far::local(&error))?;
            Ok(())
        };
        // A failure stays in the stage in which it happened.
        if is_stage { self.stage(Stage::Collect, |life, _| attempt(life)) } else { attempt(self) }
    }
}

/// Removes what was carried to a machine on which nothing is run, if it can still be reached. What stays there is no
/// failure of its own.
fn tidy(session: Option<&mut (dyn Session + '_)>, carried: &[String]) {
    if let Some(session) = session
        && !carried.is_empty()
    {
        let limit = Limit::within(Some(TIDY_TIME), &Cancel::new());
        let _ = session.exec(&script::remove(carried), &limit, &mut Kept::default());
    }
}

/// A connection that breaks under a payload says little of what became of the machine.
fn in_the_run(failure: Failure) -> Failure {
    if failure.kind != FailureKind::Lost {
        return failure;
    }
    let hint =
        "while the payload ran the machine may have died or restarted; what came home until then is kept";
    Failure::new(failure.kind, format!("{}; {hint}", failure.message))
}

fn no_session() -> Failure {
    Failure::new(FailureKind::Lost, "the connection was lost before the payload started")
}
