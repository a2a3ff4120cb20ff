//! Time to interactive, one way beside the other.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use virtmark_hypervisor::{Command, Hypervisor, MachineSpec, Snapshot};
use virtmark_sandbox::api::StartKind;
use virtmark_stats::{DEFAULT_RESAMPLES, DEFAULT_SEED, Summary, bca, percentile, ratio_of_medians};

use crate::Result;
use crate::place::Place;
use crate::verdict::{Spread, Verdict};

const COMMAND: &str = "echo benchmark";
const OUTPUT: &str = "benchmark\n";

/// Of cold, for a start from a template and for a warm one.
const TEMPLATE_LIMIT: f64 = 0.15;
const WARM_LIMIT: f64 = 0.02;
/// What HTTP may add to the direct way, in milliseconds.
const HTTP_LIMIT_MS: f64 = 2.0;

/// The ways to a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Cold,
    Template,
    Warm,
    Http,
    Direct,
}

impl Way {
    const ALL: [Self; 5] = [Self::Cold, Self::Template, Self::Warm, Self::Http, Self::Direct];

    fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Template => "template",
            Self::Warm => "warm",
            Self::Http => "template, through HTTP",
            Self::Direct => "template, on the driver",
        }
    }
}

/// Nanoseconds of each way, in the order of the rounds.
pub(crate) struct Times(BTreeMap<Way, Vec<f64>>);

impl Times {
    fn of(&self, way: Way) -> &[f64] {
        self.0.get(&way).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn by_name(&self) -> Value {
        Way::ALL.into_iter().map(|way| (way.name().to_owned(), json!(self.of(way)))).collect()
    }
}

/// All ways, alternating. The first time of each, with connections to make and caches to fill, does not count.
pub(crate) fn measure(place: &Place, rounds: usize) -> Result<Times> {
    let template = place.template()?;
    for way in Way::ALL {
        take(place, way, &template)?;
    }
    let mut times = BTreeMap::<Way, Vec<f64>>::new();
    for round in 0..rounds {
        for turn in 0..Way::ALL.len() {
            let way = Way::ALL[(round + turn) % Way::ALL.len()];
            times.entry(way).or_default().push(take(place, way, &template)?);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(Times(times))
}

/// One machine, from the request to its end, which does not count; the pool is full before and after.
fn take(place: &Place, way: Way, template: &Snapshot) -> Result<f64> {
    let elapsed_ns = match way {
        Way::Cold => service(place, StartKind::Cold)?,
        Way::Template => service(place, StartKind::Template)?,
        Way::Warm => service(place, StartKind::Warm)?,
        Way::Http => http(place)?,
        Way::Direct => direct(place, template)?,
    };
    place.wait_warm()?;
    Ok(elapsed_ns)
}

fn service(place: &Place, start: StartKind) -> Result<f64> {
    let began = Instant::now();
    let created = place.create(start, None)?;
    let answer = place.exec(&created.sandbox_id, COMMAND)?;
    let elapsed = began.elapsed();
    check(answer.stdout.as_bytes())?;
    place.destroy(created.sandbox_id)?;
    Ok(elapsed.as_nanos() as f64)
}

fn http(place: &Place) -> Result<f64> {
    // The service chooses the sizes.
    let spec = MachineSpec { vcpus: 0, memory_bytes: 0, kernel_arguments: Vec::new(), ..place.spec()? };
    let began = Instant::now();
    let (mut machine, _) = place.endpoint.create(&spec)?;
    machine.start()?;
    let output = machine.guest()?.exec(&Command::shell(COMMAND))?;
    let elapsed = began.elapsed();
    check(&output.stdout)?;
    if machine.labels().get("start").map(String::as_str) != Some("template") {
        return Err(format!("asked for a template start over HTTP, got {:?}", machine.labels()).into());
    }
    machine.destroy()?;
    Ok(elapsed.as_nanos() as f64)
}

fn direct(place: &Place, template: &Snapshot) -> Result<f64> {
    let spec = place.spec()?;
    let began = Instant::now();
    let (mut machine, _) = place.qemu.restore(template, &spec)?;
    let output = machine.guest()?.exec(&Command::shell(COMMAND))?;
    let elapsed = began.elapsed();
    check(&output.stdout)?;
    machine.destroy()?;
    Ok(elapsed.as_nanos() as f64)
}

fn check(stdout: &[u8]) -> Result<()> {
    if stdout == OUTPUT.as_bytes() {
        return Ok(());
    }
    Err(format!("the guest answered {:?}", String::from_utf8_lossy(stdout)).into())
}

/// Name and figures of each way.
pub(crate) fn figures(times: &Times) -> Result<Vec<(&'static str, Summary)>> {
    Way::ALL.into_iter().map(|way| Ok((way.name(), Summary::from_samples(times.of(way))?))).collect()
}

pub(crate) fn verdicts(times: &Times) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for (what, way, limit) in [
        ("template start, of a cold one", Way::Template, TEMPLATE_LIMIT),
        ("warm start, of a cold one", Way::Warm, WARM_LIMIT),
    ] {
        let ratio = ratio_of_medians(times.of(way), times.of(Way::Cold), 0.95)?;
        let spread = Spread::Interval95 { low: ratio.interval.low, high: ratio.interval.high };
        verdicts.push(Verdict::at_most(what, "x", ratio.point, spread, limit));
    }
    // Both of a round met the same weather.
    let pairs: Vec<(f64, f64)> =
        times.of(Way::Http).iter().copied().zip(times.of(Way::Direct).iter().copied()).collect();
    let added_ms = |pairs: &[(f64, f64)]| {
        let (http, direct): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        (median(&http) - median(&direct)) / 1e6
    };
    let interval = bca(&pairs, added_ms, 0.95, DEFAULT_RESAMPLES, DEFAULT_SEED)?;
    let spread = Spread::Interval95 { low: interval.low, high: interval.high };
    verdicts.push(Verdict::below(
        "HTTP adds to the direct way",
        "ms",
        added_ms(&pairs),
        spread,
        HTTP_LIMIT_MS,
    ));
    Ok(verdicts)
}

/// As the summaries have it; one that is not there is no number, which the interval then refuses.
fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0).map_or(f64::NAN, |median| median.value)
}
