//! From the options of a sweep to what it is asked to do. Options come before variables, variables before defaults; of
//! a sweep that is gone on with, what it was asked to do takes the place of the defaults.

use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use virtmark_scenarios::sweep::{
    Brought, Driven, Load, Location, MAX_CONCURRENCY, PerRequest, SweepPlan, excesses,
};

use super::target;
use crate::args::{
    Driver, EndpointArguments, LocationChoice, MachineArguments, PerRequestChoice, SweepArguments,
};
use crate::endpoint;
use crate::failure::Failure;
use crate::platform;

/// Levels unless told otherwise.
const LEVELS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
const VCPUS: u32 = 4;
const MEMORY_BYTES: u64 = 512 << 20;
const DURATION_MS: u64 = 10_000;
const RUNS: u32 = 1;
const WARMUP: u64 = 100;
const TIMEOUT_MS: u64 = 60_000;
const REQUEST_TIMEOUT_MS: u64 = 5_000;

/// What the options ask for.
pub(super) fn plan(
    options: &SweepArguments,
    machine: &MachineArguments,
    before: Option<&SweepPlan>,
) -> anyhow::Result<SweepPlan> {
    let (load, place) = (&options.load, &options.place);
    let target = target::target(&options.target, before)?;
    let location = match (&target.driven, place.location) {
        (Driven::Service { .. }, _) => Location::Service,
        (_, Some(LocationChoice::Native)) => Location::Native,
        (_, Some(LocationChoice::Vm)) => Location::Vm,
        (_, None) => before.map_or(Location::Vm, |before| before.location),
    };
    let is_service = location == Location::Service;
    let default_vcpus = if is_service { 0 } else { VCPUS };
    let vcpus = match (&place.vcpus, before) {
        (Some(list), _) => list.0.iter().map(|count| count.0).collect(),
        (None, Some(before)) => before.vcpus.clone(),
        (None, None) => vec![default_vcpus],
    };
    let memory_bytes = place
        .memory
        .or(before.and_then(|before| before.memory_bytes))
        .or((!is_service).then_some(MEMORY_BYTES));
    let order_seed = match (load.randomise, load.seed, before) {
        (true, Some(seed), _) => Some(seed),
        (_, _, Some(before)) => before.order_seed,
        (true, None, None) => Some(random()),
        (false, _, None) => None,
    };
    let plan = SweepPlan {
        name: target.name,
        target: target.driven,
        location,
        vcpus,
        memory_bytes,
        load: levels(options, before)?,
        duration_ms: choose(load.duration.map(ms), before, |before| before.duration_ms, DURATION_MS),
        runs: choose(load.runs.map(Into::into), before, |before| before.runs, RUNS),
        warmup: choose(load.warmup, before, |before| before.warmup, WARMUP),
        cpu_threads: place.cpu_threads.map(Into::into).or(before.and_then(|before| before.cpu_threads)),
        io_threads: choose(
            place.io_threads.map(Into::into),
            before,
            |before| before.io_threads,
            u32::try_from(virtmark_plan::DEFAULT_IO_THREADS.get())?,
        ),
        request_timeout_ms: choose(
            load.request_timeout.map(ms),
            before,
            |before| before.request_timeout_ms,
            REQUEST_TIMEOUT_MS,
        ),
        timeout_ms: choose(load.timeout.map(ms), before, |before| before.timeout_ms, TIMEOUT_MS),
        order_seed,
        slo: load.slo.as_ref().map(ToString::to_string).or(before.and_then(|before| before.slo.clone())),
        unsafe_limits: options.unsafe_limits || before.is_some_and(|before| before.unsafe_limits),
        uploads: target.uploads,
        service: target.service,
        service_port: target.service_port,
        redis_data: target.redis_data,
        machine: configuration(options, machine, is_service),
    };
    check(&plan)?;
    Ok(plan)
}

/// What was asked for takes the place of options that are left out, where they decide what the platform is.
pub(super) fn complete(options: &mut SweepArguments, before: &SweepPlan) {
    match &before.target {
        Driven::Service { endpoint, command, per_request } => {
            let target = &mut options.target;
            target.endpoint.get_or_insert_with(|| endpoint.clone());
            target.command.get_or_insert_with(|| command.clone());
            target.per_request.get_or_insert(match per_request {
                PerRequest::Exec => PerRequestChoice::Exec,
                PerRequest::Life => PerRequestChoice::Life,
            });
        }
        Driven::Generator { .. } => {
            let native = before.location == Location::Native;
            let location = if native { LocationChoice::Native } else { LocationChoice::Vm };
            options.place.location.get_or_insert(location);
        }
    }
}

/// The machines, but for their size, which is the plan's.
pub(super) fn machine(options: &SweepArguments) -> MachineArguments {
    let place = &options.place;
    MachineArguments {
        hypervisor: match place.location {
            Some(LocationChoice::Native) => Driver::Native,
            Some(LocationChoice::Vm) | None => Driver::Qemu,
        },
        accel: place.accel,
        vcpus: None,
        memory: None,
        image: place.image.clone(),
        kernel: place.kernel.clone(),
        kernel_arguments: place.kernel_arguments.clone(),
        qemu: place.qemu.clone(),
    }
}

/// The sandbox service, as far as one is named.
pub(super) fn service(options: &SweepArguments) -> EndpointArguments {
    let target = &options.target;
    EndpointArguments {
        endpoint: target.endpoint.clone(),
        token: target.token.clone(),
        mapping: target.mapping.clone(),
        start: target.start,
    }
}

/// The options of the machines or of the service, as they go on record. Their size stands in the plan itself.
fn configuration(options: &SweepArguments, machine: &MachineArguments, is_service: bool) -> Value {
    let mut all = match is_service {
        true => endpoint::configuration(&service(options), machine),
        false => platform::configuration(machine),
    };
    if let Value::Object(all) = &mut all {
        all.retain(|name, _| name != "vcpus" && name != "memory_bytes");
    }
    all
}

/// Reads a file that goes to where the target runs.
pub(super) fn brought(source: &Path, path: &str) -> anyhow::Result<Brought> {
    let sha256 = virtmark_image::sha256_file(source)?;
    Ok(Brought { source: source.into(), path: path.into(), sha256 })
}

fn levels(options: &SweepArguments, before: Option<&SweepPlan>) -> Result<Load, Failure> {
    let concurrency: Option<Vec<u32>> =
        options.load.concurrency.as_ref().map(|list| list.0.iter().map(|level| level.get()).collect());
    let rates: Option<Vec<f64>> =
        options.load.rate.as_ref().map(|list| list.0.iter().map(|rate| rate.0).collect());
    let one = |levels: &[u32]| match levels {
        [in_flight] => Ok(*in_flight),
        _ => Err(Failure::usage(
            "with --rate, the levels are rates, and --concurrency is the most requests at once: give one number",
        )),
    };
    Ok(match (rates, concurrency, before.map(|before| &before.load)) {
        (Some(rates_per_second), concurrency, _) => {
            let in_flight = concurrency.as_deref().map(one).transpose()?.unwrap_or(MAX_CONCURRENCY);
            Load::Open { rates_per_second, in_flight }
        }
        (None, Some(levels), Some(Load::Open { rates_per_second, .. })) => {
            Load::Open { rates_per_second: rates_per_second.clone(), in_flight: one(&levels)? }
        }
        (None, Some(concurrency), _) => Load::Closed { concurrency },
        (None, None, Some(before)) => before.clone(),
        (None, None, None) => Load::Closed { concurrency: LEVELS.to_vec() },
    })
}

/// What no sweep can be, and what none is without having been asked twice.
fn check(plan: &SweepPlan) -> Result<(), Failure> {
    if plan.duration_ms >= plan.timeout_ms {
        let message = format!(
            "every run of {:?} would be killed at the time limit of {:?}: give a longer --timeout or a shorter --duration",
            plan.duration(),
            plan.timeout()
        );
        return Err(Failure::usage(message));
    }
    let excesses = excesses(plan);
    if excesses.is_empty() || plan.unsafe_limits {
        return Ok(());
    }
    let found: Vec<String> = excesses.iter().map(ToString::to_string).collect();
    Err(Failure::usage(format!("{}; ask for less, or add --unsafe-limits", found.join("; "))))
}

fn choose<T>(asked: Option<T>, before: Option<&SweepPlan>, of: impl Fn(&SweepPlan) -> T, default: T) -> T {
    asked.or_else(|| before.map(of)).unwrap_or(default)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The standard library seeds its hashers from the system's randomness. Half of it, so that JSON has it exactly.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() >> 32
}
