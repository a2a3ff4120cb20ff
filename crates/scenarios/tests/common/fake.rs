//! A platform whose machines exist in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use virtmark_hypervisor::*;
use virtmark_model::{Accelerator, HypervisorFacts, Stopwatch, Timeline};

/// What goes wrong, and with which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Answer,
    /// Taking its snapshot out of the host's memory.
    Cool,
    Create,
    Destroy,
    /// It has lost what was in the snapshot.
    Forget,
    Start,
    Exec,
    /// It has to be forced to stop.
    Force,
    Restore,
    Snapshot,
}

/// A machine, where it fails, and how.
type Faulty = (String, Fault, fn() -> Error);

/// A platform whose machines exist in memory; it knows which of them are alive.
pub struct Fake {
    facts: HypervisorFacts,
    capabilities: Capabilities,
    faults: Vec<Faulty>,
    exit_code: i32,
    boot: Duration,
    exec: Duration,
    exec_phases: &'static [&'static str],
    destroy: Duration,
    pub shared: Arc<Shared>,
}

#[derive(Default)]
pub struct Shared {
    pub created: AtomicU32,
    pub alive: Mutex<BTreeSet<String>>,
    pub most_alive: AtomicU32,
    pub launches: Mutex<Vec<Instant>>,
    pub stop_modes: Mutex<Vec<StopMode>>,
    /// Files in guests; one file system stands for all of them.
    pub files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What guests were told to run.
    pub commands: Mutex<Vec<String>>,
    pub cooled: AtomicU32,
    pub discarded: AtomicU32,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            facts: HypervisorFacts {
                name: "qemu".into(),
                version: "0".into(),
                accelerator: Some(Accelerator::Tcg),
                ..Default::default()
            },
            capabilities: Capabilities::all_except([]),
            faults: Vec::new(),
            exit_code: 0,
            boot: Duration::from_millis(2),
            exec: Duration::ZERO,
            exec_phases: &[],
            destroy: Duration::ZERO,
            shared: Arc::default(),
        }
    }

    pub fn boot(mut self, boot: Duration) -> Self {
        self.boot = boot;
        self
    }

    pub fn exec(mut self, exec: Duration) -> Self {
        self.exec = exec;
        self
    }

    /// Running a command has these phases, each as long as `exec` takes in all otherwise.
    pub fn exec_phases(mut self, names: &'static [&'static str]) -> Self {
        self.exec_phases = names;
        self
    }

    pub fn destroy(mut self, destroy: Duration) -> Self {
        self.destroy = destroy;
        self
    }

    pub fn exit_code(mut self, exit_code: i32) -> Self {
        self.exit_code = exit_code;
        self
    }

    pub fn without(mut self, absent: impl IntoIterator<Item = (Capability, &'static str)>) -> Self {
        self.capabilities = Capabilities::all_except(absent);
        self
    }

    pub fn fault(mut self, machine: &str, fault: Fault, error: fn() -> Error) -> Self {
        self.faults.push((machine.into(), fault, error));
        self
    }

    pub fn alive(&self) -> usize {
        self.shared.alive.lock().unwrap().len()
    }

    fn machine(&self, name: &str) -> FakeMachine {
        let mut alive = self.shared.alive.lock().unwrap();
        assert!(alive.insert(name.into()), "{name} is alive already");
        self.shared.most_alive.fetch_max(alive.len() as u32, Ordering::SeqCst);
        self.shared.created.fetch_add(1, Ordering::SeqCst);
        FakeMachine {
            name: name.into(),
            faults: self.faults.iter().filter(|fault| fault.0 == name).cloned().collect(),
            exit_code: self.exit_code,
            boot: self.boot,
            exec: self.exec,
            exec_phases: self.exec_phases,
            destroy: self.destroy,
            shared: Arc::clone(&self.shared),
        }
    }
}

fn trip(faults: &[Faulty], machine: &str, fault: Fault) -> Result<()> {
    match faults.iter().find(|known| known.0 == machine && known.1 == fault) {
        Some((_, _, error)) => Err(error()),
        None => Ok(()),
    }
}

fn phases(names: &[&'static str], each: Duration) -> Timeline {
    let mut watch = Stopwatch::start();
    for name in names {
        std::thread::sleep(each);
        watch.mark(*name);
    }
    watch.finish()
}

impl Hypervisor for Fake {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        self.shared.launches.lock().unwrap().push(Instant::now());
        trip(&self.faults, &spec.name, Fault::Create)?;
        let machine = self.machine(&spec.name);
        Ok((Box::new(machine), phases(&["prepare", "spawn"], Duration::ZERO)))
    }

    fn restore(&self, snapshot: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        trip(&self.faults, &spec.name, Fault::Restore)?;
        assert!(snapshot.directory.is_dir());
        Ok((Box::new(self.machine(&spec.name)), phases(&["load", "connect"], self.boot)))
    }

    fn discard(&self, snapshot: Snapshot) -> Result<()> {
        self.shared.discarded.fetch_add(1, Ordering::SeqCst);
        std::fs::remove_dir_all(&snapshot.directory).unwrap();
        Ok(())
    }

    fn cool(&self, snapshot: &Snapshot) -> Result<()> {
        assert!(snapshot.directory.is_dir());
        if let Some((.., error)) = self.faults.iter().find(|known| known.1 == Fault::Cool) {
            return Err(error());
        }
        self.shared.cooled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub struct FakeMachine {
    name: String,
    faults: Vec<Faulty>,
    exit_code: i32,
    boot: Duration,
    exec: Duration,
    exec_phases: &'static [&'static str],
    destroy: Duration,
    shared: Arc<Shared>,
}

impl Machine for FakeMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MachineState {
        MachineState::Running
    }

    fn start(&mut self) -> Result<Timeline> {
        trip(&self.faults, &self.name, Fault::Start)?;
        Ok(phases(&["firmware_kernel", "init", "connect"], self.boot / 3))
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        trip(&self.faults, &self.name, Fault::Exec)?;
        let lost = self.faults.iter().find(|fault| fault.1 == Fault::Answer).map(|fault| fault.2);
        let (exit_code, exec, exec_phases) = (self.exit_code, self.exec, self.exec_phases);
        Ok(Arc::new(FakeGuest {
            forgetful: self.faults.iter().any(|fault| fault.1 == Fault::Forget),
            shared: Arc::clone(&self.shared),
            exit_code,
            exec,
            exec_phases,
            lost,
        }))
    }

    fn stop(&mut self, mode: StopMode) -> Result<Timeline> {
        self.shared.stop_modes.lock().unwrap().push(mode);
        let forced = self.faults.iter().any(|fault| fault.1 == Fault::Force);
        Ok(phases(if forced { &["stop", "force"] } else { &["stop"] }, Duration::ZERO))
    }

    fn destroy(&mut self) -> Result<Timeline> {
        if self.shared.alive.lock().unwrap().remove(&self.name) {
            std::thread::sleep(self.destroy);
        }
        trip(&self.faults, &self.name, Fault::Destroy)?;
        Ok(phases(&["destroy"], Duration::ZERO))
    }

    fn pause(&mut self) -> Result<Timeline> {
        unreachable!("no scenario pauses")
    }

    fn resume(&mut self) -> Result<Timeline> {
        unreachable!("no scenario resumes")
    }

    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        trip(&self.faults, &self.name, Fault::Snapshot)?;
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("memory"), "x").unwrap();
        let snapshot = Snapshot { directory: directory.into(), disk_bytes: 1 };
        Ok((snapshot, phases(&["pause", "save", "resume"], Duration::ZERO)))
    }

    fn usage(&self) -> Result<Usage> {
        Ok(Usage { pss_bytes: Some(30 << 20), private_bytes: Some(10 << 20), ..Usage::default() })
    }

    fn console_tail(&self) -> String {
        String::new()
    }

    fn explain(&self, error: Error) -> Error {
        match error {
            Error::AgentLost { machine, .. } => Error::GuestPanic { machine, console: String::new() },
            other => other,
        }
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        self.shared.alive.lock().unwrap().remove(&self.name);
    }
}

struct FakeGuest {
    forgetful: bool,
    shared: Arc<Shared>,
    exit_code: i32,
    exec: Duration,
    exec_phases: &'static [&'static str],
    lost: Option<fn() -> Error>,
}

impl GuestLink for FakeGuest {
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        if let Some(lost) = self.lost {
            return Err(lost());
        }
        std::thread::sleep(self.exec);
        let Program::Shell(line) = &command.program else { unreachable!("scenarios run lines") };
        self.shared.commands.lock().unwrap().push(line.clone());
        let output = match line.strip_prefix("cat ") {
            Some(_) if self.forgetful => Vec::new(),
            Some(path) => self.shared.files.lock().unwrap().get(path).cloned().unwrap_or_default(),
            None => b"benchmark\n".to_vec(),
        };
        Ok(Box::new(FakeExec { exit_code: self.exit_code, output: Some(output) }))
    }

    fn exec(&self, command: &Command) -> Result<ExecOutput> {
        let mut handle = self.spawn(command)?;
        let mut output =
            ExecOutput { timeline: phases(self.exec_phases, self.exec), ..ExecOutput::default() };
        while let Some(chunk) = handle.next_output()? {
            output.stdout_bytes += chunk.data.len() as u64;
            output.stdout.extend(chunk.data);
        }
        (output.status, output.resource_use) = handle.wait()?;
        Ok(output)
    }

    fn put(&self, source: &mut dyn Read, size: u64, path: &str, _: u32) -> Result<()> {
        let mut content = vec![0; size as usize];
        source.read_exact(&mut content).unwrap();
        self.shared.files.lock().unwrap().insert(path.into(), content);
        Ok(())
    }

    fn get(&self, _: &str, _: &mut dyn Write) -> Result<u32> {
        unreachable!("no scenario copies files")
    }

    fn facts(&self) -> Result<GuestFacts> {
        unreachable!("no scenario asks for facts")
    }

    fn clock(&self) -> Result<GuestClock> {
        unreachable!("no scenario asks for the clock")
    }

    fn personalize(&self, _: &Identity) -> Result<()> {
        unreachable!("no scenario gives an identity")
    }

    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

struct FakeExec {
    exit_code: i32,
    output: Option<Vec<u8>>,
}

impl ExecHandle for FakeExec {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        Ok(self.output.take().map(|data| OutputChunk { stream: OutputStream::Stdout, data }))
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        Ok((ExecStatus::Exited(self.exit_code), ResourceUse::default()))
    }

    fn kill(&mut self) -> Result<()> {
        Ok(())
    }
}
