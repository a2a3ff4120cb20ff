//! What following many machines costs: `cargo run --release -p virtmark-recorder --example cost [MACHINES] [SECONDS]`.
//!
//! Each machine tells 30 series at whole seconds: 22 from five files of `/proc` that are read anew each time, as a probe of
//! a real machine does (those of this process stand in), and 8 from the answer of a guest.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use virtmark_hypervisor::{
    Command, ExecHandle, GuestClock, GuestFacts, GuestLink, Identity, MachineProbe, MetricKind, Result, Sink,
};
use virtmark_recorder::{Attachment, Recorder, RecorderOptions};

const OBSERVED: usize = 22;
const FILES: [&str; 5] = [
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/schedstat",
    "/proc/self/schedstat",
    "/proc/self/schedstat",
];

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let machines: u32 = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    for with_guests in [false, true] {
        let place = tempfile::tempdir()?;
        let notice = Box::new(|text: &str| eprintln!("{text}"));
        let store = place.path().join("store");
        let recorder = Recorder::open(&store, machines, RecorderOptions::default(), notice)?;
        for number in 0..machines {
            let probe = ProcProbe::new(if with_guests { OBSERVED } else { OBSERVED + 8 })?;
            recorder.attach(Attachment {
                name: format!("machine-{number}"),
                labels: vec![("hypervisor".into(), "none".into())],
                probe: Some(Arc::new(probe)),
                guest: with_guests.then(|| Arc::new(ReadyGuest) as Arc<dyn GuestLink>),
            })?;
        }
        std::thread::sleep(Duration::from_secs(seconds));
        let summary = recorder.finish()?;
        let share = summary.cpu.as_secs_f64() / seconds as f64 * 100.0;
        let what = if with_guests { "a thread each that asks the guest" } else { "nobody to ask" };
        println!("{machines} machines, {what}: {share:.2} % of one CPU; {summary}");
    }
    Ok(())
}

struct ProcProbe {
    files: Vec<File>,
    numbers: Vec<String>,
}

impl ProcProbe {
    fn new(series: usize) -> std::io::Result<Self> {
        let files = FILES.iter().map(File::open).collect::<std::io::Result<_>>()?;
        Ok(Self { files, numbers: (0..series).map(|number| number.to_string()).collect() })
    }
}

impl MachineProbe for ProcProbe {
    fn observe(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut buffer = [0; 1024];
        let mut bytes = 0;
        for file in &self.files {
            bytes += file.read_at(&mut buffer, 0).unwrap_or_default();
        }
        for number in &self.numbers {
            sink("observed", &[("number", number)], MetricKind::Gauge, bytes as f64);
        }
        Ok(())
    }
}

/// A guest that answers at once.
struct ReadyGuest;

impl GuestLink for ReadyGuest {
    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        let text = match path {
            "/proc/stat" => "cpu  100 0 50 800 0\nprocs_running 2\n",
            "/proc/meminfo" => "MemAvailable: 1000 kB\n",
            _ => "0.50 0.40 0.30 1/50 100\n",
        };
        target.write_all(text.as_bytes()).map_err(virtmark_hypervisor::Error::io("answer"))?;
        Ok(0o444)
    }

    fn spawn(&self, _command: &Command) -> Result<Box<dyn ExecHandle>> {
        unreachable!("a recorder runs nothing in a guest")
    }

    fn put(&self, _source: &mut dyn Read, _size: u64, _path: &str, _mode: u32) -> Result<()> {
        unreachable!("a recorder writes nothing in a guest")
    }

    fn facts(&self) -> Result<GuestFacts> {
        unreachable!("a recorder does not ask for facts")
    }

    fn clock(&self) -> Result<GuestClock> {
        unreachable!("a recorder does not ask for clocks")
    }

    fn personalize(&self, _: &Identity) -> Result<()> {
        unreachable!("a recorder gives no identity")
    }

    fn shutdown(&self) -> Result<()> {
        unreachable!("a recorder ends no guest")
    }
}
