//! A platform whose machines print what measuring tools printed once.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use virtmark_hypervisor::*;
use virtmark_model::{Accelerator, HypervisorFacts, Timeline};

/// The text of a machine that answers nothing any more.
pub const SILENCE: &str = "(silence)";

/// What a command line leads to, where it is not what always happens.
pub type Answer = dyn Fn(&str) -> Option<(ExecStatus, String)> + Send + Sync;

/// A platform of such machines.
pub struct Tools {
    facts: HypervisorFacts,
    capabilities: Capabilities,
    answer: Arc<Answer>,
    /// Machines that cannot be made.
    pub missing: Option<&'static str>,
    /// Every command line that was run, with its machine.
    pub lines: Arc<Mutex<Vec<(String, String)>>>,
    pub alive: Arc<Mutex<Vec<String>>>,
}

impl Tools {
    /// With every tool; `answer` decides about some command lines.
    pub fn new(answer: impl Fn(&str) -> Option<(ExecStatus, String)> + Send + Sync + 'static) -> Self {
        Self {
            facts: HypervisorFacts {
                name: "qemu".into(),
                accelerator: Some(Accelerator::Tcg),
                ..HypervisorFacts::default()
            },
            capabilities: Capabilities::all_except([]),
            answer: Arc::new(answer),
            missing: None,
            lines: Arc::default(),
            alive: Arc::default(),
        }
    }

    pub fn without(mut self, absent: impl IntoIterator<Item = (Capability, &'static str)>) -> Self {
        self.capabilities = Capabilities::all_except(absent);
        self
    }

    /// The command lines with this in them.
    pub fn lines_with(&self, word: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|(_, line)| line.contains(word)).map(|(_, line)| line.clone()).collect()
    }
}

/// Text of the stored output.
pub fn stored(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guest").join(name);
    std::fs::read_to_string(&path).unwrap()
}

/// What a command line prints when all is well.
fn usual(line: &str) -> String {
    let known = [
        (
            "command -v",
            "fio fio-3.33\niperf3 iperf 3.12\nopenssl OpenSSL 3.0.19\nping ping from iputils\nsysbench sysbench 1.0.20\n",
        ),
        ("/proc/vmstat", "nr_free_pages 1\noom_kill 0\n"),
        ("/proc/meminfo", "MemTotal: 200000 kB\nMemFree: 102400 kB\n"),
        ("/sys/block", "/dev/vdb\n"),
        ("grep -q -e listening", "Server listening on 5201 (test #1)\n"),
    ];
    if let Some((_, text)) = known.into_iter().find(|(word, _)| line.contains(word)) {
        return text.into();
    }
    let files = [
        ("sysbench cpu", "sysbench-1.0.20-cpu.txt"),
        ("--memory-access-mode=rnd", "sysbench-1.0.20-memory-rnd.txt"),
        ("--memory-oper=read", "sysbench-1.0.20-memory-read.txt"),
        ("--memory-oper=write", "sysbench-1.0.20-memory-write.txt"),
        ("openssl speed", "openssl-3.0.19-sha256.txt"),
        ("--rw=randread", "fio-3.33-randread.json"),
        ("--rw=randwrite", "fio-2.2.10-randwrite.json"),
        ("--rw=read", "fio-3.33-randread.json"),
        ("--rw=write", "fio-3.33-write.json"),
        ("-u -b 0", "iperf3-3.12-udp.json"),
        ("iperf3 -c", "iperf3-3.12-tcp.json"),
        ("ping -n", "ping-iputils-20221126.txt"),
    ];
    files.into_iter().find(|(word, _)| line.contains(word)).map(|(_, file)| stored(file)).unwrap_or_default()
}

impl Hypervisor for Tools {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        if self.missing == Some(&spec.name) {
            let reason = "the host has no more".to_owned();
            return Err(Error::OutOfMemory {
                machine: spec.name.clone(),
                wanted_bytes: spec.memory_bytes,
                reason,
            });
        }
        self.alive.lock().unwrap().push(spec.name.clone());
        let link = Link {
            machine: spec.name.clone(),
            answer: Arc::clone(&self.answer),
            lines: Arc::clone(&self.lines),
        };
        let interfaces = spec.networks.iter().map(|network| interface(network, &spec.name)).collect();
        let alive = Arc::clone(&self.alive);
        let machine = ToolMachine { name: spec.name.clone(), link: Arc::new(link), interfaces, alive };
        Ok((Box::new(machine), Timeline::default()))
    }
}

fn interface(network: &Network, machine: &str) -> Interface {
    let last = if machine.ends_with('2') { 9 } else { 8 };
    let (gateway, reach) = match network {
        Network::Shared { .. } => (None, Reach::Direct),
        Network::User { forwards, .. } => {
            let forwarded = forwards.iter().map(|port| (*port, ([127, 0, 0, 1], 40_001).into())).collect();
            (Some([10, 0, 2, 2].into()), Reach::Forwarded(forwarded))
        }
    };
    Interface {
        mac: Mac([2, 0, 0, 0, 0, last]),
        address: [10, 0, 0, last].into(),
        prefix_bits: 24,
        gateway,
        reach,
    }
}

struct ToolMachine {
    name: String,
    link: Arc<Link>,
    interfaces: Vec<Interface>,
    alive: Arc<Mutex<Vec<String>>>,
}

impl Machine for ToolMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.interfaces.clone()
    }

    fn state(&self) -> MachineState {
        MachineState::Running
    }

    fn start(&mut self) -> Result<Timeline> {
        Ok(Timeline::default())
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        Ok(self.link.clone())
    }

    fn stop(&mut self, _: StopMode) -> Result<Timeline> {
        unreachable!("machines are destroyed")
    }

    fn destroy(&mut self) -> Result<Timeline> {
        self.alive.lock().unwrap().retain(|name| *name != self.name);
        Ok(Timeline::default())
    }

    fn pause(&mut self) -> Result<Timeline> {
        unreachable!("nothing is paused")
    }

    fn resume(&mut self) -> Result<Timeline> {
        unreachable!("nothing is resumed")
    }

    fn snapshot(&mut self, _: &Path) -> Result<(Snapshot, Timeline)> {
        unreachable!("there are no snapshots")
    }

    fn usage(&self) -> Result<Usage> {
        // A layout of 64 MiB comes between the first call for a machine's files and the others.
        let written = self.link.lines.lock().unwrap().iter().any(|(_, line)| line.contains("--name=layout"));
        let disk_bytes = if written { (64 << 20) + 5_000_000 } else { 4_000_000 };
        Ok(Usage { pss_bytes: Some(200 << 20), disk_bytes: Some(disk_bytes), ..Usage::default() })
    }

    fn console_tail(&self) -> String {
        String::new()
    }
}

struct Link {
    machine: String,
    answer: Arc<Answer>,
    lines: Arc<Mutex<Vec<(String, String)>>>,
}

impl GuestLink for Link {
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        let line = match &command.program {
            Program::Argv(words) => words.join(" "),
            Program::Shell(line) => line.clone(),
        };
        self.lines.lock().unwrap().push((self.machine.clone(), line.clone()));
        let (status, text) = (self.answer)(&line).unwrap_or_else(|| (ExecStatus::Exited(0), usual(&line)));
        if text == SILENCE {
            let (machine, timeout) = (self.machine.clone(), command.timeout.unwrap_or_default());
            return Err(Error::Timeout { machine, request: line, timeout, console: String::new() });
        }
        Ok(Box::new(Done { status, output: Some(text.into_bytes()) }))
    }

    fn put(&self, _: &mut dyn Read, _: u64, _: &str, _: u32) -> Result<()> {
        unreachable!("nothing is copied")
    }

    fn get(&self, _: &str, _: &mut dyn Write) -> Result<u32> {
        unreachable!("nothing is copied")
    }

    fn facts(&self) -> Result<GuestFacts> {
        unreachable!("nobody asks")
    }

    fn clock(&self) -> Result<GuestClock> {
        unreachable!("nobody asks")
    }

    fn personalize(&self, _: &Identity) -> Result<()> {
        unreachable!("nobody gives one")
    }

    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

struct Done {
    status: ExecStatus,
    output: Option<Vec<u8>>,
}

impl ExecHandle for Done {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        let data = self.output.take().filter(|data| !data.is_empty());
        Ok(data.map(|data| OutputChunk { stream: OutputStream::Stdout, data }))
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        Ok((self.status, ResourceUse::default()))
    }

    fn kill(&mut self) -> Result<()> {
        Ok(())
    }
}
