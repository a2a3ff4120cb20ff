//! A platform without machines: it answers at once, or as slowly and badly as a test asks.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{
    BootImage, Cancel, Capabilities, Command, Error, ExecHandle, ExecStatus, GuestClock, GuestFacts,
    GuestLink, Hypervisor, Identity, Machine, MachineSpec, MachineState, OutputChunk, OutputStream, Program,
    ResourceUse, Result, Snapshot, StopMode, Usage,
};
use virtmark_model::{Accelerator, HypervisorFacts, ImageFacts, Timeline};
use virtmark_sandbox::Images;
use virtmark_sandbox::api::ImageName;

/// What a test sees of the platform, and asks of it.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Machines that exist.
    pub(crate) machines: AtomicUsize,
    /// Machines made so far.
    pub(crate) made: AtomicUsize,
    /// Pieces of output that endless commands have written.
    pub(crate) pieces: AtomicUsize,
    /// Commands that run.
    pub(crate) commands: AtomicUsize,
    /// Starts wait while this is set.
    pub(crate) held: AtomicBool,
    /// Starts panic while this is set.
    pub(crate) panics: AtomicBool,
    /// What starts fail with, while there is something.
    pub(crate) fault: Mutex<Option<Fault>>,
}

/// The failure of a machine of this name.
pub(crate) type Fault = fn(String) -> Error;

/// The platform.
pub(crate) struct Fake {
    pub(crate) behaviour: Arc<Behaviour>,
    facts: HypervisorFacts,
    capabilities: Capabilities,
}

impl Fake {
    pub(crate) fn new(behaviour: Arc<Behaviour>) -> Self {
        let facts = HypervisorFacts {
            name: "fake".into(),
            version: "1.0".into(),
            accelerator: Some(Accelerator::Tcg),
            accelerator_reason: Some("there is no guest".into()),
            configuration: None,
            machine: None,
            nested_in_emulation: false,
        };
        Self { behaviour, facts, capabilities: Capabilities::all_except([]) }
    }

    fn machine(&self, spec: &MachineSpec, state: MachineState) -> Box<dyn Machine> {
        self.behaviour.machines.fetch_add(1, Ordering::SeqCst);
        self.behaviour.made.fetch_add(1, Ordering::SeqCst);
        let guest = Arc::new(Guest {
            name: spec.name.clone(),
            behaviour: self.behaviour.clone(),
            gone: AtomicBool::new(false),
            files: Mutex::default(),
        });
        Box::new(FakeMachine { state, guest })
    }
}

impl Hypervisor for Fake {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        Ok((self.machine(spec, MachineState::Created), Timeline::default()))
    }

    fn restore(&self, _: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        Ok((self.machine(spec, MachineState::Running), Timeline::default()))
    }
}

struct FakeMachine {
    state: MachineState,
    guest: Arc<Guest>,
}

impl Machine for FakeMachine {
    fn name(&self) -> &str {
        &self.guest.name
    }

    fn state(&self) -> MachineState {
        self.state
    }

    fn start(&mut self) -> Result<Timeline> {
        assert!(!self.guest.behaviour.panics.load(Ordering::SeqCst), "on purpose");
        while self.guest.behaviour.held.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1));
        }
        if let Some(fault) = *self.guest.behaviour.fault.lock().unwrap() {
            return Err(fault(self.guest.name.clone()));
        }
        self.state = MachineState::Running;
        Ok(Timeline::default())
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        Ok(Arc::new(Link(self.guest.clone())))
    }

    fn stop(&mut self, _: StopMode) -> Result<Timeline> {
        self.state = MachineState::Stopped;
        Ok(Timeline::default())
    }

    fn destroy(&mut self) -> Result<Timeline> {
        if self.state != MachineState::Destroyed {
            self.state = MachineState::Destroyed;
            self.guest.gone.store(true, Ordering::SeqCst);
            self.guest.behaviour.machines.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(Timeline::default())
    }

    fn pause(&mut self) -> Result<Timeline> {
        self.state = MachineState::Paused;
        Ok(Timeline::default())
    }

    fn resume(&mut self) -> Result<Timeline> {
        self.state = MachineState::Running;
        Ok(Timeline::default())
    }

    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        fs::create_dir(directory).map_err(Error::io("make a snapshot"))?;
        fs::write(directory.join("state"), "state").map_err(Error::io("write a snapshot"))?;
        Ok((Snapshot { directory: directory.into(), disk_bytes: 5 }, Timeline::default()))
    }

    fn usage(&self) -> Result<Usage> {
        Ok(Usage { cpu_ns: Some(1), rss_bytes: Some(2), ..Usage::default() })
    }

    fn console_tail(&self) -> String {
        String::new()
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        let _ = self.destroy();
    }
}

struct Guest {
    name: String,
    behaviour: Arc<Behaviour>,
    gone: AtomicBool,
    files: Mutex<HashMap<String, (Vec<u8>, u32)>>,
}

impl Guest {
    fn refused(&self, request: &str, reason: &str) -> Error {
        Error::AgentRefused { machine: self.name.clone(), request: request.into(), reason: reason.into() }
    }

    fn lost(&self) -> Error {
        Error::AgentLost {
            machine: self.name.clone(),
            request: "a request".into(),
            reason: "the machine is gone".into(),
            console: String::new(),
        }
    }
}

struct Link(Arc<Guest>);

impl GuestLink for Link {
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        if self.0.gone.load(Ordering::SeqCst) {
            return Err(self.0.lost());
        }
        let line = match &command.program {
            Program::Shell(line) => line.clone(),
            Program::Argv(argv) => argv.join(" "),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (output, act) = match word {
            "cat" => (command.stdin.clone(), Act::Exit(0)),
            "echo" => (format!("{rest}\n").into_bytes(), Act::Exit(0)),
            "exit" => (Vec::new(), Act::Exit(rest.parse().unwrap_or(1))),
            "flood" => (Vec::new(), Act::Flood),
            "panic" => panic!("on purpose"),
            "sleep" => (Vec::new(), Act::Sleep),
            _ => (Vec::new(), Act::Exit(0)),
        };
        self.0.behaviour.commands.fetch_add(1, Ordering::SeqCst);
        let deadline = command.timeout.map(|limit| Instant::now() + limit);
        let (guest, cancel) = (self.0.clone(), command.cancel.clone());
        Ok(Box::new(Running { guest, output: Some(output), act, deadline, cancel, killed: false }))
    }

    fn put(&self, source: &mut dyn Read, size: u64, path: &str, mode: u32) -> Result<()> {
        let mut content = Vec::new();
        source.take(size).read_to_end(&mut content).map_err(Error::io("read a file"))?;
        if content.len() as u64 != size {
            return Err(self.0.refused("write a file", "it is not as long as it was said to be"));
        }
        self.0.files.lock().unwrap().insert(path.into(), (content, mode));
        Ok(())
    }

    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        let file = self.0.files.lock().unwrap().get(path).cloned();
        let (content, mode) = file.ok_or_else(|| {
            self.0.refused(&format!("read {path}"), "No such file or directory (os error 2)")
        })?;
        for piece in content.chunks(64 << 10) {
            target.write_all(piece).map_err(Error::io("send a file"))?;
        }
        Ok(mode)
    }

    fn facts(&self) -> Result<GuestFacts> {
        Ok(GuestFacts {
            agent_version: "1".into(),
            protocol_version: 1,
            kernel: "6.1".into(),
            init_started_ns: 1,
            ready_ns: 2,
            is_init: true,
        })
    }

    fn clock(&self) -> Result<GuestClock> {
        Ok(GuestClock { monotonic_ns: 1, boottime_ns: 1, realtime_ns: 1 })
    }

    fn personalize(&self, _: &Identity) -> Result<()> {
        Ok(())
    }

    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

/// How a command goes on after its output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Exit(i32),
    Flood,
    Sleep,
}

struct Running {
    guest: Arc<Guest>,
    output: Option<Vec<u8>>,
    act: Act,
    deadline: Option<Instant>,
    cancel: Option<Cancel>,
    killed: bool,
}

impl Running {
    fn timed_out(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn is_over(&self) -> Result<bool> {
        if self.guest.gone.load(Ordering::SeqCst) {
            return Err(self.guest.lost());
        }
        if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            let (machine, request) = (self.guest.name.clone(), "a command".into());
            return Err(Error::Cancelled { machine, request });
        }
        Ok(self.killed || self.timed_out() || matches!(self.act, Act::Exit(_)))
    }
}

impl ExecHandle for Running {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        let of_stdout = |data| Some(OutputChunk { stream: OutputStream::Stdout, data });
        if let Some(output) = self.output.take().filter(|output| !output.is_empty()) {
            return Ok(of_stdout(output));
        }
        while !self.is_over()? {
            if self.act == Act::Flood {
                self.guest.behaviour.pieces.fetch_add(1, Ordering::SeqCst);
                return Ok(of_stdout(vec![b'x'; 64 << 10]));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        while !self.is_over()? {
            sleep(Duration::from_millis(1));
        }
        let status = match self.act {
            Act::Exit(code) => ExecStatus::Exited(code),
            _ if self.killed => ExecStatus::Signaled(9),
            _ => ExecStatus::TimedOut,
        };
        Ok((status, ResourceUse::default()))
    }

    fn kill(&mut self) -> Result<()> {
        self.killed = true;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.guest.behaviour.commands.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One image, `tiny`, of which nothing is ever read.
pub(crate) struct OneImage;

impl Images for OneImage {
    fn resolve(&self, name: Option<&ImageName>) -> virtmark_sandbox::Result<BootImage> {
        if let Some(name) = name.filter(|name| name.as_str() != "tiny") {
            let (image, known) = (name.to_string(), self.names());
            return Err(virtmark_sandbox::Error::ImageUnknown { image, known });
        }
        let facts = ImageFacts { id: "1".into(), name: "tiny".into(), ..ImageFacts::default() };
        Ok(BootImage {
            kernel: "/nowhere/kernel".into(),
            initramfs: "/nowhere/initramfs".into(),
            root: None,
            facts,
        })
    }

    fn names(&self) -> Vec<String> {
        vec!["tiny".into()]
    }
}
