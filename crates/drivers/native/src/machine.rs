//! An agent and its guard as a machine.

use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_host::process::{Child, Spawn, Stream, describe_exit};
use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{
    Capability, Error, GuestLink, Machine, MachineProbe, MachineSpec, MachineState, Result, Snapshot,
    StopMode, Usage, allocated_bytes,
};
use virtmark_model::{Stopwatch, Timeline};

use crate::probe::NativeProbe;
use crate::{ABSENT, Platform, tree};

/// How long processes that were killed may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an exit may take to show after the link has closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// One machine.
pub(crate) struct NativeMachine {
    platform: Arc<Platform>,
    spec: MachineSpec,
    state: MachineState,
    /// Absent once destroyed.
    agent: Option<Agent>,
}

/// The processes of a machine that is not destroyed.
struct Agent {
    link: Arc<AgentLink>,
    guard: Child,
    /// The agent begins when a byte comes through it; gone by then.
    hold: Option<PipeWriter>,
    directory: PathBuf,
}

impl NativeMachine {
    /// A machine whose agent is loaded and waits. Phases: `prepare`, `spawn`.
    pub(crate) fn create(platform: Arc<Platform>, spec: &MachineSpec) -> Result<(Self, Timeline)> {
        let mut watch = Stopwatch::start();
        let directory = platform.run_dir.machine_dir(&spec.name)?;
        // Fails where a machine of this name has one.
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io(format!("create {}", work.display())))?;
        let agent = Agent::spawn(&platform, &spec.name, directory, &mut watch).inspect_err(|_| {
            // The run directory removes what stays; the first error is the one that matters.
            let _ = platform.run_dir.remove_machine(&spec.name);
        })?;
        let machine = Self { platform, spec: spec.clone(), state: MachineState::Created, agent: Some(agent) };
        Ok((machine, watch.finish()))
    }

    fn agent_in(&mut self, wanted: MachineState, action: &'static str) -> Result<&mut Agent> {
        let error = self.wrong_state(action);
        match &mut self.agent {
            Some(agent) if self.state == wanted => Ok(agent),
            _ => Err(error),
        }
    }

    fn wrong_state(&self, action: &'static str) -> Error {
        Error::WrongState { machine: self.spec.name.clone(), action, state: self.state.to_string() }
    }

    fn unsupported(&self, capability: Capability) -> Error {
        let reason = ABSENT.iter().find(|(absent, _)| *absent == capability).map_or("", |(_, reason)| reason);
        Error::Unsupported { hypervisor: "native".into(), capability, reason: reason.into() }
    }
}

impl Agent {
    /// Loads the agent under its guard; it waits. Marks `prepare` and `spawn`.
    fn spawn(platform: &Platform, name: &str, directory: PathBuf, watch: &mut Stopwatch) -> Result<Self> {
        let prepare = || Error::io(format!("prepare the machine {name}"));
        let (ours, theirs) = UnixStream::pair().map_err(prepare())?;
        let (held, hold) = io::pipe().map_err(prepare())?;
        let program = platform.agent.try_clone().map_err(prepare())?;
        let link = AgentLink::connect(ours, name, Arc::new(String::new))?;
        watch.mark("prepare");

        let mut spawn = Spawn::new(name, program_path(&program));
        spawn.pass_fd(program.into());
        let line = spawn.pass_fd(theirs.into());
        spawn.args(["--guard", "--hold", "--fd", &line.to_string()]).current_dir(directory.join("work"));
        spawn.stdin(Stream::Fd(OwnedFd::from(held))).stderr(Stream::File(directory.join("stderr")));
        let guard = spawn.start(&platform.run_dir)?;
        watch.mark("spawn");
        Ok(Self { link: Arc::new(link), guard, hold: Some(hold), directory })
    }

    /// Why it does not answer, if that is because it has ended.
    fn why_dead(&self, machine: &str) -> Option<Error> {
        let status = self.guard.wait_timeout(EXIT_GRACE)?;
        let output = fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
        Some(Error::VmmExited { machine: machine.into(), status: describe_exit(status), output })
    }

    fn guard_was_killed(&self) -> bool {
        self.guard.wait_timeout(EXIT_GRACE).is_some_and(|status| status.signal().is_some())
    }

    /// Ends the agent, its guard, and all that they started, with or without their help.
    fn end(&mut self, machine: &str) -> Result<()> {
        self.hold = None;
        let deadline = Instant::now() + END_TIMEOUT;
        self.guard.terminate();
        // Closed when both have ended, and each ends last of all that it started.
        let closed = self.link.hang_up(END_TIMEOUT);
        let ended = self.guard.wait_timeout(deadline.saturating_duration_since(Instant::now()));
        self.link.close();
        if closed && ended.is_some() {
            return Ok(());
        }
        self.guard.kill_group();
        let reason = format!("some still run after {END_TIMEOUT:?}; they are killed when virtmark ends");
        Err(Error::io(format!("end the processes of {machine}"))(io::Error::other(reason)))
    }
}

impl Machine for NativeMachine {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn state(&self) -> MachineState {
        match &self.agent {
            Some(agent) if agent.guard.try_wait().is_some() => MachineState::Stopped,
            _ => self.state,
        }
    }

    fn start(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        let (name, timeout) = (self.spec.name.clone(), self.spec.ready_timeout);
        let agent = self.agent_in(MachineState::Created, "start")?;
        let ready = agent
            .hold
            .take()
            .map_or(Ok(()), |mut hold| hold.write_all(&[1]))
            .map_err(Error::io(format!("start {name}")))
            .and_then(|()| agent.link.wait_ready(Instant::now() + timeout));
        let ready = ready.map_err(|error| match error {
            silent @ Error::GuestSilent { .. } => silent,
            error => agent.why_dead(&name).unwrap_or(error),
        })?;
        watch.mark_at("init", ready.first_frame_at);
        watch.mark_at("connect", ready.connected_at);
        self.state = MachineState::Running;
        Ok(watch.finish())
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        match &self.agent {
            Some(agent) if self.state == MachineState::Running => Ok(agent.link.clone()),
            _ => Err(self.wrong_state("reach the guest of")),
        }
    }

    fn stop(&mut self, mode: StopMode) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        let name = self.spec.name.clone();
        let agent = self.agent_in(MachineState::Running, "stop")?;
        if agent.guard.try_wait().is_some()
            && let Some(error) = agent.why_dead(&name)
        {
            // What ended by itself was not stopped by anybody, and took no time to stop.
            self.state = MachineState::Stopped;
            return Err(error);
        }
        let mut gone = false;
        if let StopMode::Graceful { deadline } = mode {
            let until = Instant::now() + deadline;
            gone = agent.link.shutdown_within(deadline).is_ok()
                && agent.guard.wait_timeout(until.saturating_duration_since(Instant::now())).is_some();
            watch.mark("stop");
        }
        if !gone {
            agent.end(&name)?;
            watch.mark("force");
        }
        self.state = MachineState::Stopped;
        Ok(watch.finish())
    }

    fn destroy(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        if let Some(mut agent) = self.agent.take() {
            self.state = MachineState::Destroyed;
            let ended = agent.end(&self.spec.name);
            drop(agent);
            let removed = self.platform.run_dir.remove_machine(&self.spec.name);
            ended?;
            removed?;
        }
        watch.mark("destroy");
        Ok(watch.finish())
    }

    fn pause(&mut self) -> Result<Timeline> {
        Err(self.unsupported(Capability::PauseResume))
    }

    fn resume(&mut self) -> Result<Timeline> {
        Err(self.unsupported(Capability::PauseResume))
    }

    fn snapshot(&mut self, _directory: &Path) -> Result<(Snapshot, Timeline)> {
        Err(self.unsupported(Capability::Snapshot))
    }

    fn probe(&self) -> Result<Arc<dyn MachineProbe>> {
        let guard = &self.agent.as_ref().ok_or_else(|| self.wrong_state("watch"))?.guard;
        Ok(Arc::new(NativeProbe {
            machine: self.spec.name.clone(),
            pid: guard.pid(),
            start_ticks: guard.start_ticks(),
        }))
    }

    fn usage(&self) -> Result<Usage> {
        let agent = self.agent.as_ref().ok_or_else(|| self.wrong_state("measure"))?;
        let mut usage = tree::usage(agent.guard.pid());
        usage.disk_bytes = allocated_bytes(&agent.directory).ok();
        Ok(usage)
    }

    fn console_tail(&self) -> String {
        String::new()
    }

    fn explain(&self, error: Error) -> Error {
        match (&self.agent, &error) {
            // A guard that ended by itself did so because the agent was gone before it.
            (Some(agent), Error::AgentLost { .. }) if agent.guard_was_killed() => {
                agent.why_dead(&self.spec.name).unwrap_or(error)
            }
            _ => error,
        }
    }
}

impl Drop for NativeMachine {
    fn drop(&mut self) {
        // Nobody is left to tell; the run directory ends and removes what stays.
        let _ = self.destroy();
    }
}

/// The program as the child sees it: the descriptor keeps its number there.
fn program_path(program: &File) -> String {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(program))
}
