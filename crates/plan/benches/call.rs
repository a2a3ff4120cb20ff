//! What a call of a plan costs.
//!
//! `cargo bench -p virtmark-plan`

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends by it")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use virtmark_plan::{Executor, ExecutorOptions, Plan, Scheduler};

/// The least plan: what is left is the executor.
const ONE_NODE: &str = r#"{"plan": "one", "output": "rows", "nodes": {
    "rows": {"op": "source", "columns": [["id", "int"]], "rows": [[1]]}}}"#;
/// Two branches that wait for nothing: what is left is the way over the pools.
const TWO_BRANCHES: &str = r#"{"plan": "two", "output": "both", "nodes": {
    "rows": {"op": "source", "columns": [["id", "int"]], "rows": [[1]]},
    "left": {"op": "spin", "inputs": ["rows"], "rounds": 0},
    "right": {"op": "spin", "inputs": ["rows"], "rounds": 0},
    "both": {"op": "concat", "inputs": ["left", "right"]}}}"#;

fn calls(criterion: &mut Criterion) {
    let plans = [
        ("one_node", Plan::parse(ONE_NODE).unwrap(), Scheduler::Async),
        ("concat_plan", Plan::builtin("concat_plan").unwrap(), Scheduler::Async),
        ("regex_plan", Plan::builtin("regex_plan").unwrap(), Scheduler::Async),
        ("two_branches_sync", Plan::parse(TWO_BRANCHES).unwrap(), Scheduler::Sync),
        ("two_branches_async", Plan::parse(TWO_BRANCHES).unwrap(), Scheduler::Async),
    ];
    let mut group = criterion.benchmark_group("call");
    for (name, plan, scheduler) in plans {
        let options = ExecutorOptions {
            scheduler,
            cpu_threads: NonZeroUsize::new(2).unwrap(),
            ..ExecutorOptions::default()
        };
        let executor = Executor::new(Arc::new(plan), &options).unwrap();
        let request = executor.plan().request_from_text("").unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| executor.call(black_box(&request)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
