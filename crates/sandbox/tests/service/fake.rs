//! A platform whose machines exist in memory; a test sees what lives, and decides what fails.
#![allow(unreachable_pub, reason = "a module of one test program")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use virtmark_host::process::{Spawn, describe_exit};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::*;
use virtmark_model::{Accelerator, HypervisorFacts, ImageFacts, Stopwatch, Timeline};
use virtmark_sandbox::api::ImageName;
use virtmark_sandbox::{Error as ServiceError, Images};

/// What the tests see of all machines, and what these do.
#[derive(Clone, Default)]
pub struct World(pub Arc<Shared>);

#[derive(Default)]
pub struct Shared {
    pub alive: Mutex<BTreeMap<String, Arc<Body>>>,
    pub most_alive: AtomicU32,
    pub boots: AtomicU32,
    pub restores: AtomicU32,
    /// Hostnames given, in order.
    pub identities: Mutex<Vec<String>>,
    pub boot_ms: AtomicU64,
    /// Where boots start a process of the machine's name, and wait for its end.
    pub vmm: Mutex<Option<Arc<RunDir>>>,
    /// Commands that were held so far.
    pub held: AtomicU32,
    /// Snapshots wait while this is set.
    pub snapshots_wait: AtomicBool,
    /// What the next snapshots fail with.
    pub snapshot_faults: Mutex<Vec<Error>>,
    /// What the next restores fail with.
    pub restore_faults: Mutex<Vec<Error>>,
    /// What the next boots fail with.
    pub boot_faults: Mutex<Vec<Error>>,
}

/// One machine.
pub struct Body {
    name: String,
    state: Mutex<(MachineState, bool)>,
}

impl Body {
    /// It ends by itself.
    pub fn die(&self) {
        *self.state.lock().unwrap() = (MachineState::Stopped, true);
    }

    fn set(&self, state: MachineState) {
        self.state.lock().unwrap().0 = state;
    }

    fn state(&self) -> MachineState {
        self.state.lock().unwrap().0
    }

    fn is_gone(&self) -> bool {
        matches!(self.state(), MachineState::Stopped | MachineState::Destroyed)
    }
}

impl World {
    pub fn platform(&self) -> Arc<dyn Hypervisor> {
        Arc::new(self.platform_of_version("1"))
    }

    pub fn platform_of_version(&self, version: &str) -> Platform {
        let facts = HypervisorFacts {
            name: "fake".into(),
            version: version.into(),
            accelerator: Some(Accelerator::Tcg),
            ..Default::default()
        };
        Platform { facts, capabilities: Capabilities::all_except([]), world: self.clone() }
    }

    pub fn alive(&self) -> usize {
        self.0.alive.lock().unwrap().len()
    }

    pub fn body(&self, name: &str) -> Arc<Body> {
        self.0.alive.lock().unwrap()[name].clone()
    }

    pub fn names(&self) -> Vec<String> {
        self.0.alive.lock().unwrap().keys().cloned().collect()
    }

    pub fn boots(&self) -> u32 {
        self.0.boots.load(Ordering::SeqCst)
    }

    pub fn boot_takes(&self, milliseconds: u64) {
        self.0.boot_ms.store(milliseconds, Ordering::SeqCst);
    }

    fn machine(&self, name: &str, state: MachineState) -> FakeMachine {
        let body = Arc::new(Body { name: name.into(), state: Mutex::new((state, false)) });
        let mut alive = self.0.alive.lock().unwrap();
        assert!(alive.insert(name.into(), body.clone()).is_none(), "{name} is alive already");
        self.0.most_alive.fetch_max(alive.len() as u32, Ordering::SeqCst);
        FakeMachine { body, world: self.clone() }
    }
}

pub struct Platform {
    facts: HypervisorFacts,
    pub capabilities: Capabilities,
    world: World,
}

fn trip(faults: &Mutex<Vec<Error>>) -> Result<()> {
    faults.lock().unwrap().pop().map_or(Ok(()), Err)
}

fn phases(names: &[&'static str]) -> Timeline {
    let mut watch = Stopwatch::start();
    names.iter().for_each(|name| watch.mark(*name));
    watch.finish()
}

impl Hypervisor for Platform {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        Ok((Box::new(self.world.machine(&spec.name, MachineState::Created)), phases(&["prepare", "spawn"])))
    }

    fn restore(&self, snapshot: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        trip(&self.world.0.restore_faults)?;
        self.world.0.restores.fetch_add(1, Ordering::SeqCst);
        std::fs::read(snapshot.directory.join("memory")).map_err(Error::io("read a snapshot"))?;
        self.world.0.identities.lock().unwrap().push(spec.name.clone());
        let machine = self.world.machine(&spec.name, MachineState::Running);
        Ok((Box::new(machine), phases(&["prepare", "spawn", "load", "connect", "identity"])))
    }
}

pub struct FakeMachine {
    body: Arc<Body>,
    world: World,
}

impl Machine for FakeMachine {
    fn name(&self) -> &str {
        &self.body.name
    }

    fn state(&self) -> MachineState {
        self.body.state()
    }

    fn start(&mut self) -> Result<Timeline> {
        self.world.0.boots.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(self.world.0.boot_ms.load(Ordering::SeqCst)));
        trip(&self.world.0.boot_faults)?;
        let vmm = self.world.0.vmm.lock().unwrap().clone();
        if let Some(run_dir) = vmm {
            let mut spawn = Spawn::new(&*self.body.name, "sleep");
            spawn.arg("60");
            let status = describe_exit(spawn.start(&run_dir)?.wait());
            return Err(Error::VmmExited { machine: self.body.name.clone(), status, output: String::new() });
        }
        self.body.set(MachineState::Running);
        Ok(phases(&["firmware_kernel", "init", "connect"]))
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        assert_ne!(self.body.state(), MachineState::Paused, "a paused guest cannot be reached");
        Ok(Arc::new(Link { body: self.body.clone(), world: self.world.clone() }))
    }

    fn stop(&mut self, _: StopMode) -> Result<Timeline> {
        if self.body.state.lock().unwrap().1 {
            return Err(panicked(&self.body.name));
        }
        self.body.set(MachineState::Stopped);
        Ok(phases(&["stop"]))
    }

    fn destroy(&mut self) -> Result<Timeline> {
        self.body.set(MachineState::Destroyed);
        self.world.0.alive.lock().unwrap().remove(&self.body.name);
        Ok(phases(&["destroy"]))
    }

    fn pause(&mut self) -> Result<Timeline> {
        self.body.set(MachineState::Paused);
        Ok(phases(&["pause"]))
    }

    fn resume(&mut self) -> Result<Timeline> {
        if self.body.state.lock().unwrap().1 {
            return Err(panicked(&self.body.name));
        }
        self.body.set(MachineState::Running);
        Ok(phases(&["resume"]))
    }

    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        while self.world.0.snapshots_wait.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        trip(&self.world.0.snapshot_faults)?;
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("memory"), "x").unwrap();
        let snapshot = Snapshot { directory: directory.into(), disk_bytes: 1 };
        Ok((snapshot, phases(&["pause", "save", "resume"])))
    }

    fn usage(&self) -> Result<Usage> {
        Ok(Usage { pss_bytes: Some(7), ..Usage::default() })
    }

    fn console_tail(&self) -> String {
        String::new()
    }

    fn explain(&self, error: Error) -> Error {
        let died = self.body.state.lock().unwrap().1;
        if died { panicked(&self.body.name) } else { error }
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        let _ = self.destroy();
    }
}

struct Link {
    body: Arc<Body>,
    world: World,
}

impl GuestLink for Link {
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        let Program::Shell(line) = &command.program else { panic!("sandboxes run lines for the shell") };
        if self.body.state() != MachineState::Running {
            return Err(lost(&self.body.name));
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let output = match word {
            "echo" => vec![(OutputStream::Stdout, format!("{rest}\n"))],
            "env" => {
                let lines = command.env.iter().map(|(name, value)| format!("{name}={value}\n"));
                vec![(OutputStream::Stdout, lines.collect())]
            }
            "both" => vec![(OutputStream::Stdout, "out".into()), (OutputStream::Stderr, "err".into())],
            "endless" => vec![(OutputStream::Stdout, "x".into()); 1000],
            "hold" => {
                self.world.0.held.fetch_add(1, Ordering::SeqCst);
                while !self.body.is_gone() {
                    if command.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                        let (machine, request) = (self.body.name.clone(), "a command".into());
                        return Err(Error::Cancelled { machine, request });
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                return Err(lost(&self.body.name));
            }
            "panic" => {
                self.body.die();
                return Err(lost(&self.body.name));
            }
            "hang" => {
                let (machine, timeout) = (self.body.name.clone(), command.timeout.unwrap());
                let (request, console) = ("a command".into(), String::new());
                return Err(Error::Timeout { machine, request, timeout, console });
            }
            _ => Vec::new(),
        };
        let chunk = |(stream, text): (OutputStream, String)| OutputChunk { stream, data: text.into_bytes() };
        let output: Vec<OutputChunk> = output.into_iter().rev().map(chunk).collect();
        let status = match word {
            "exit" => ExecStatus::Exited(rest.parse().unwrap()),
            "signal" => ExecStatus::Signaled(rest.parse().unwrap()),
            "late" => ExecStatus::TimedOut,
            _ => ExecStatus::Exited(0),
        };
        Ok(Box::new(Handle { output, status }))
    }

    fn put(&self, source: &mut dyn Read, size: u64, _: &str, _: u32) -> Result<()> {
        let mut content = vec![0; size as usize];
        source.read_exact(&mut content).map_err(Error::io("read the content of a file"))
    }

    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        if path == "/missing" {
            let reason = "No such file or directory (os error 2)".into();
            let request = format!("read {path}");
            return Err(Error::AgentRefused { machine: self.body.name.clone(), request, reason });
        }
        for _ in 0..10 {
            target.write_all(&[7; 100]).map_err(Error::io("copy a file"))?;
        }
        Ok(0o644)
    }

    fn facts(&self) -> Result<GuestFacts> {
        unreachable!("the service asks for no facts")
    }

    fn clock(&self) -> Result<GuestClock> {
        unreachable!("the service reads no clocks")
    }

    fn personalize(&self, identity: &Identity) -> Result<()> {
        self.world.0.identities.lock().unwrap().push(identity.hostname.clone());
        Ok(())
    }

    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

struct Handle {
    output: Vec<OutputChunk>,
    status: ExecStatus,
}

impl ExecHandle for Handle {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        Ok(self.output.pop())
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        Ok((self.status, ResourceUse::default()))
    }

    fn kill(&mut self) -> Result<()> {
        self.output.clear();
        Ok(())
    }
}

/// One image with a content that a test can change.
#[derive(Default)]
pub struct Pictures(pub Mutex<String>);

impl Images for Pictures {
    fn resolve(&self, name: Option<&ImageName>) -> virtmark_sandbox::Result<BootImage> {
        if let Some(name) = name.filter(|name| name.as_str() != "tiny") {
            return Err(ServiceError::ImageUnknown { image: name.to_string(), known: self.names() });
        }
        let facts =
            ImageFacts { id: self.0.lock().unwrap().clone(), name: "tiny".into(), ..Default::default() };
        Ok(BootImage { kernel: "/kernel".into(), initramfs: "/initramfs".into(), root: None, facts })
    }

    fn names(&self) -> Vec<String> {
        vec!["tiny".into()]
    }
}

pub fn panicked(machine: &str) -> Error {
    Error::GuestPanic { machine: machine.into(), console: String::new() }
}

pub fn lost(machine: &str) -> Error {
    let (request, reason) = ("a command".into(), "end of stream".into());
    Error::AgentLost { machine: machine.into(), request, reason, console: String::new() }
}

pub fn io(kind: std::io::ErrorKind) -> Error {
    Error::Io { action: "do its part".into(), source: kind.into() }
}
