//! `virtmark capture`

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use virtmark_host::rundir::RunDir;
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::{Disk, Observer};
use virtmark_recorder::evidence::Keeper;
use virtmark_recorder::export::openmetrics::serve;
use virtmark_recorder::prometheus::Prometheus;
use virtmark_recorder::{Recorder, RecorderOptions};
use virtmark_scenarios::Context;
use virtmark_scenarios::capture::{Capture, CapturePlan, Evidence, SCENARIO, Source, Span};

use super::present::{Form, present};
use crate::args::CaptureArguments;
use crate::exit::Exit;
use crate::measure::{Request, measure};
use crate::output;

/// What a guest runs.
const WORKLOAD: &str = include_str!("../../../../guest/workload.sh");
/// The disk that its I/O goes to.
const DISK_BYTES: u64 = 64 << 20;
/// The finest slots of a store: what is recorded more often shares one.
const FINEST_SLOT: Duration = Duration::from_secs(1);
/// More than a store of a few machines takes.
const STORE_BYTES: u64 = 64 << 20;

pub(crate) fn run(options: &CaptureArguments, quiet: bool) -> anyhow::Result<Exit> {
    let plan = CapturePlan {
        durations_s: options.duration.clone(),
        repeat: options.repeat,
        timeout_s: u32::try_from(options.timeout.as_secs())?,
    };
    let mut on_record = serde_json::to_value(&plan)?;
    on_record["interval_ns"] = u64::try_from(options.interval.as_nanos())?.into();
    on_record["scrape_interval_ns"] = u64::try_from(options.scrape_interval.as_nanos())?.into();
    let request = Request {
        scenario: SCENARIO,
        options: on_record,
        machine: &options.machine,
        endpoint: None,
        record: None,
        archive: &options.archive,
        quiet,
    };
    let mut cost = None;
    let measured = measure(request, |platform, context| {
        let mut machine = platform.machine(&options.machine, options.timeout);
        machine.disks = vec![Disk { name: "workload".into(), size_bytes: DISK_BYTES }];
        let lives = options.repeat.get().saturating_mul(u32::try_from(options.duration.len())?);
        let directory = match &options.store {
            Some(directory) => directory.clone(),
            None => platform.run_dir.bulk_dir("capture", STORE_BYTES)?.join("store"),
        };
        let notice = Box::new(|words: &str| output::people(&format!("virtmark: {words}\n")));
        let recorder = Recorder::open(&directory, lives, RecorderOptions::every(options.interval), notice)?;
        let capture = Capture { plan, machine, workload: WORKLOAD };
        let Context { hypervisor, sink, progress, interrupt, started, .. } = context;
        let observer: Option<&dyn Observer> = Some(&recorder);
        let context = Context { hypervisor, sink, progress, observer, interrupt, started };
        let ending =
            beside_prometheus(&directory, &platform.run_dir, options.scrape_interval, |prometheus| {
                let mut sources: Vec<Box<dyn Source + '_>> = vec![
                    Box::new(Kept::new(
                        "recorder",
                        options.interval.max(FINEST_SLOT),
                        Ok(Keeper::Store(directory.clone())),
                    )),
                    Box::new(Kept::new(
                        "prometheus",
                        options.scrape_interval,
                        prometheus.map(Keeper::Prometheus),
                    )),
                ];
                Ok(capture.run(context, &mut sources)?)
            })?;
        cost = Some(recorder.finish()?);
        Ok(ending)
    })?;
    present(&measured.run, &measured.samples, Form::Json, quiet)?;
    if let (Some(cost), false) = (cost, quiet) {
        output::people(&format!("recorder: {cost}\n"));
    }
    measured.exit()
}

/// Runs `work` while a Prometheus scrapes the store; with the reason when there is none.
fn beside_prometheus<T>(
    store: &Path,
    run_dir: &RunDir,
    interval: Duration,
    work: impl FnOnce(Result<&Prometheus, String>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if !Prometheus::is_installed() {
        return work(Err("prometheus is not installed (apt-get install prometheus)".into()));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let target = listener.local_addr()?;
    let over = Interrupt::never();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, store, &over));
        let result = match Prometheus::start(run_dir, target, interval) {
            Ok(prometheus) => work(Ok(&prometheus)),
            Err(error) => work(Err(error.to_string())),
        };
        over.request(0);
        // A scrape that could not be answered shows in what Prometheus has.
        let _ = server.join();
        result
    })
}

/// What one keeper of points has, as the scenario asks for it.
struct Kept<'a> {
    name: &'static str,
    interval: Duration,
    keeper: Result<Keeper<'a>, String>,
}

impl<'a> Kept<'a> {
    fn new(name: &'static str, interval: Duration, keeper: Result<Keeper<'a>, String>) -> Self {
        Self { name, interval, keeper }
    }
}

impl Source for Kept<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn evidence(&mut self, machine: &str, span: Span) -> Result<Evidence, String> {
        let keeper = self.keeper.as_ref().map_err(Clone::clone)?;
        let points = keeper.machine_points(machine, span.start_ns, span.end_ns)?;
        Ok(Evidence {
            fewest_points: points.fewest,
            cpu_seconds: points.cpu_seconds,
            disk_bytes: points.disk_bytes,
        })
    }
}
