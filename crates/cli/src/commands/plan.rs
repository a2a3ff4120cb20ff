//! `virtmark plan`

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};
use virtmark_host::signals::{self, Interrupt};
use virtmark_plan::{
    BenchOptions, Executor, ExecutorOptions, Plan, RedisOptions, Request, RequestError, Scheduler, bench,
    builtin_names, reels,
};

use crate::args::{
    PlanArguments, PlanBenchArguments, PlanCommand, PlanExecutorArguments, PlanRunArguments, RedisArguments,
};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Longer than any bench.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn run(options: &PlanArguments) -> anyhow::Result<Exit> {
    match &options.command {
        PlanCommand::Bench(options) => return run_bench(options),
        PlanCommand::Check { file } => check(file)?,
        PlanCommand::List { json } => list(*json)?,
        PlanCommand::Run(options) => run_once(options)?,
        PlanCommand::Seed { redis } => seed(redis)?,
    }
    Ok(Exit::Ok)
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let plans: Vec<Plan> = builtin_names().filter_map(Plan::builtin).collect();
    if as_json {
        return output::json(&plans.iter().map(facts).collect::<Vec<_>>());
    }
    let width = plans.iter().map(|plan| plan.name().len()).max().unwrap_or(0);
    output::stdout(|output| {
        for plan in &plans {
            let needs = if plan.is_offline() { "offline" } else { "Redis  " };
            writeln!(output, "{:width$}  {needs}  {}", plan.name(), plan.description())?;
        }
        Ok(())
    })
}

fn facts(plan: &Plan) -> Value {
    json!({
        "plan": plan.name(),
        "description": plan.description(),
        "offline": plan.is_offline(),
        "overlaps": plan.overlaps(),
        "nodes": plan.node_count(),
        "parameters": plan.parameters().iter()
            .map(|parameter| (parameter.name.clone(), parameter.kind.name().into()))
            .collect::<Map<String, Value>>(),
        "columns": columns(plan),
    })
}

/// Name and type of each column of the result, in order, as plan files write them.
fn columns(plan: &Plan) -> Vec<[String; 2]> {
    plan.schema().columns().map(|(name, kind)| [name, kind.name()].map(str::to_owned)).collect()
}

fn check(file: &Path) -> anyhow::Result<()> {
    output::json(&facts(&read(file)?))
}

fn read(file: &Path) -> Result<Plan, Failure> {
    Plan::from_file(file).map_err(|error| Failure::usage(error.to_string()))
}

fn run_once(options: &PlanRunArguments) -> anyhow::Result<()> {
    let plan = find(&options.plan)?;
    let request = request(&plan, &input(options.input.as_deref())?)?;
    let executor = executor(Arc::clone(&plan), &options.executor)?;
    let batch = executor.call(&request).with_context(|| format!("cannot run {}", plan.name()))?;
    let rows = batch.to_json(plan.schema());
    output::json(&json!({ "plan": plan.name(), "columns": columns(&plan), "rows": rows }))
}

/// The request from the option or standard input. Nobody is asked to type one.
fn input(given: Option<&str>) -> anyhow::Result<String> {
    let mut text = given.unwrap_or_default().to_owned();
    if given.is_none() && !io::stdin().is_terminal() {
        io::stdin().read_to_string(&mut text).context("cannot read the request from standard input")?;
    }
    Ok(text)
}

fn request(plan: &Plan, text: &str) -> anyhow::Result<Request> {
    let refused = |error: RequestError| Failure::usage(format!("cannot call {}: {error}", plan.name()));
    Ok(plan.request_from_text(text).map_err(refused)?)
}

fn run_bench(options: &PlanBenchArguments) -> anyhow::Result<Exit> {
    let plan = find(&options.plan)?;
    let requests = match &options.inputs {
        Some(file) => read_requests(&plan, file)?,
        None => vec![Ok(request(&plan, options.input.as_deref().unwrap_or_default())?)],
    };
    let executor = executor(plan, &options.executor)?;
    let interrupt = signals::install().context("cannot listen for signals")?;
    let stop = stop_flag(&interrupt)?;
    let bench_options = BenchOptions {
        iterations: options.iterations,
        concurrency: options.concurrency,
        warmup: options.warmup,
    };
    let measured = bench(&executor, &requests, &bench_options, &stop);
    output::json(&measured.report(&executor, &bench_options))?;
    for message in measured.messages.values() {
        output::people(&format!("virtmark: {message}\n"));
    }
    Ok(match interrupt.signal() {
        Some(signal) => Exit::Signaled(signal),
        None if measured.failed() == 0 => Exit::Ok,
        None if measured.latencies_ns.is_empty() => Exit::NothingSucceeded,
        None => Exit::SomeFailed,
    })
}

/// The wish to stop as callers can look at it between two calls without a lock.
fn stop_flag(interrupt: &Interrupt) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (interrupt, flag) = (interrupt.clone(), Arc::clone(&stop));
    let watch = move || {
        while !interrupt.wait_timeout(FOREVER) {}
        flag.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("stop".into()).spawn(watch).context("cannot listen for signals")?;
    Ok(stop)
}

fn read_requests(plan: &Plan, file: &Path) -> anyhow::Result<Vec<Result<Request, RequestError>>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the requests in {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let requests: Vec<_> = lines.map(|line| plan.request_from_text(line)).collect();
    if requests.is_empty() {
        return Err(Failure::usage(format!("{} has no requests; write one a line", file.display())).into());
    }
    Ok(requests)
}

fn seed(options: &RedisArguments) -> anyhow::Result<()> {
    let redis = redis(options).unwrap_or_default();
    let seeded = reels::seed(&redis).context("cannot fill Redis")?;
    output::json(&json!({ "redis": redis.address, "keys": seeded.keys, "key_prefix": reels::KEY_PREFIX }))
}

/// A built-in plan or a file: a name without slash and dot is never a file, so that no file can hide a built-in.
fn find(plan: &str) -> anyhow::Result<Arc<Plan>> {
    if let Some(plan) = Plan::builtin(plan) {
        return Ok(Arc::new(plan));
    }
    if plan.contains(['/', '.']) {
        return Ok(Arc::new(read(Path::new(plan))?));
    }
    let names: Vec<&str> = builtin_names().collect();
    let message = format!(
        "no plan is called {plan:?}; there are {}; a file is named with its path, such as ./{plan}.json",
        names.join(", ")
    );
    Err(Failure { exit: Exit::UnknownName, message }.into())
}

fn executor(plan: Arc<Plan>, options: &PlanExecutorArguments) -> anyhow::Result<Executor> {
    let mut executor = ExecutorOptions { io_threads: options.io_threads, ..ExecutorOptions::default() };
    if options.sync {
        executor.scheduler = Scheduler::Sync;
    }
    if let Some(cpu_threads) = options.cpu_threads {
        executor.cpu_threads = cpu_threads;
    }
    if let Some(address) = redis(&options.redis) {
        // The plan's own time limit stays.
        executor.redis = Some(RedisOptions { timeout: plan.redis().timeout, ..address });
    }
    Executor::new(plan, &executor).context("cannot make the threads of the executor; ask for fewer")
}

fn redis(options: &RedisArguments) -> Option<RedisOptions> {
    let address = options.redis.clone()?;
    Some(RedisOptions { address, ..RedisOptions::default() })
}
