//! Any plan gives what a reader of the plan would work out by hand, whatever runs at the same time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use virtmark_plan::{
    BenchOptions, CallError, Executor, ExecutorOptions, FailureClass, Plan, Scheduler, bench,
};

/// What a node is made from: which operation, which inputs, which details.
type Seed = (u8, u8, u8, i8);
type Row = Map<String, Value>;

fn executor(plan: &Arc<Plan>, scheduler: Scheduler, cpu_threads: usize) -> Executor {
    let options = ExecutorOptions {
        scheduler,
        cpu_threads: NonZeroUsize::new(cpu_threads).unwrap(),
        io_threads: NonZeroUsize::new(4).unwrap(),
        redis: None,
    };
    Executor::new(Arc::clone(plan), &options).unwrap()
}

/// A sound plan from any numbers: the last node is the output, and what does not lead there is left out.
fn plan_of(seeds: &[Seed]) -> Value {
    let columns = json!([["id", "int"], ["weight", "float"], ["word", "text"]]);
    let name = |index: usize| format!("node_{index:02}");
    let mut nodes: Vec<Value> = Vec::new();
    // How many columns score has added; nodes that differ in this cannot be concatenated.
    let mut added: Vec<usize> = Vec::new();
    for (index, (op, a, b, detail)) in seeds.iter().enumerate() {
        let pick = |seed: &u8| if index == 0 { 0 } else { usize::from(*seed) % index };
        let (first, second) = (pick(a), pick(b));
        let input = json!([name(first)]);
        let count = usize::from(*b) % 7;
        let (node, columns) = match if index == 0 { 0 } else { op % 8 } {
            0 => {
                let words = ["a", "b", "ab", "ba", "ü", ""];
                let row = |number: usize| {
                    let word = words[(number + usize::from(*a)) % 6];
                    json!([
                        if number == 1 {
                            json!({"parameter": "user_id"})
                        } else {
                            json!(i64::from(*detail) + number as i64)
                        },
                        f64::from(*detail) / 8.0 * number as f64,
                        word
                    ])
                };
                let rows: Vec<Value> = (0..count).map(row).collect();
                (json!({"op": "source", "columns": columns, "rows": rows}), 0)
            }
            1 | 2 => {
                let second = if added[first] == added[second] { second } else { first };
                (json!({"op": "concat", "inputs": [name(first), name(second)]}), added[first])
            }
            3 => {
                let keep = if b % 2 == 0 { "matching" } else { "others" };
                let pattern = if a % 2 == 0 { "a" } else { "^b" };
                (
                    json!({"op": "regex_filter", "inputs": input, "column": "word", "pattern": pattern, "keep": keep}),
                    added[first],
                )
            }
            4 => {
                let column = format!("score_{}", added[first]);
                let weights = json!({"id": 0.5, "weight": f64::from(*detail)});
                (
                    json!({"op": "score", "inputs": input, "weights": weights, "bias": 0.25, "column": column}),
                    added[first] + 1,
                )
            }
            5 if b % 2 == 0 => {
                (json!({"op": "take", "inputs": input, "count": count, "by": "weight"}), added[first])
            }
            5 => (json!({"op": "take", "inputs": input, "count": count}), added[first]),
            6 => {
                (json!({"op": "sleep", "inputs": input, "duration_ms": f64::from(*b) / 512.0}), added[first])
            }
            _ => (json!({"op": "spin", "inputs": input, "rounds": u32::from(*b) * 16}), added[first]),
        };
        nodes.push(node);
        added.push(columns);
    }
    let mut used = BTreeSet::from([name(nodes.len() - 1)]);
    for index in (0..nodes.len()).rev() {
        if used.contains(&name(index)) {
            let inputs = nodes[index]["inputs"].as_array().into_iter().flatten();
            used.extend(inputs.map(|input| input.as_str().unwrap().to_owned()));
        }
    }
    let output = name(nodes.len() - 1);
    let nodes = nodes.into_iter().enumerate().map(|(index, node)| (name(index), node));
    let nodes: Map<String, Value> = nodes.filter(|(name, _)| used.contains(name)).collect();
    json!({"plan": "random", "parameters": {"user_id": {"type": "int"}}, "nodes": nodes, "output": output})
}

/// The rows of a node, worked out from the text of the plan, its inputs anew each time.
fn naive(plan: &Value, name: &str, user_id: i64) -> Vec<Row> {
    let node = &plan["nodes"][name];
    let inputs: Vec<&str> =
        node["inputs"].as_array().into_iter().flatten().map(|input| input.as_str().unwrap()).collect();
    let mut rows: Vec<Row> = inputs.iter().flat_map(|input| naive(plan, input, user_id)).collect();
    match node["op"].as_str().unwrap() {
        "source" => {
            let names: Vec<&str> = node["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|column| column[0].as_str().unwrap())
                .collect();
            let value = |value: &Value| if value.is_object() { user_id.into() } else { value.clone() };
            let row = |row: &Value| {
                let values = row.as_array().unwrap().iter().map(value);
                names.iter().map(|name| (*name).to_owned()).zip(values).collect()
            };
            return node["rows"].as_array().unwrap().iter().map(row).collect();
        }
        "regex_filter" => {
            let is_match = |row: &Row| {
                let word = row["word"].as_str().unwrap();
                if node["pattern"] == "a" { word.contains('a') } else { word.starts_with('b') }
            };
            rows.retain(|row| is_match(row) == (node["keep"] == "matching"));
        }
        "score" => {
            for row in &mut rows {
                let of = |name: &str| node["weights"][name].as_f64().unwrap() * row[name].as_f64().unwrap();
                let score = 0.25 + of("id") + of("weight");
                row.insert(node["column"].as_str().unwrap().into(), score.into());
            }
        }
        "take" => {
            if node["by"].is_string() {
                let weight = |row: &Row| row["weight"].as_f64().unwrap();
                rows.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
            }
            rows.truncate(node["count"].as_u64().unwrap() as usize);
        }
        _ => {}
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn both_schedulers_give_what_the_plan_says(
        seeds in prop::collection::vec(any::<Seed>(), 1..14),
        cpu_threads in 1_usize..4,
    ) {
        let file = plan_of(&seeds);
        let plan = Arc::new(Plan::parse(&file.to_string()).unwrap());
        for scheduler in [Scheduler::Async, Scheduler::Sync] {
            let executor = executor(&plan, scheduler, cpu_threads);
            thread::scope(|scope| {
                for user_id in [1_i64, -7, 1 << 40] {
                    let (executor, plan, file) = (&executor, &plan, &file);
                    scope.spawn(move || {
                        let expected = naive(file, file["output"].as_str().unwrap(), user_id);
                        let expected: Vec<Value> = expected.into_iter().map(Value::Object).collect();
                        let request = plan.request(&json!({"user_id": user_id})).unwrap();
                        for _ in 0..2 {
                            let batch = executor.call(&request).unwrap();
                            assert_eq!(batch.to_json(plan.schema()), expected, "{scheduler:?} of {file:#}");
                        }
                    });
                }
            });
        }
    }
}

/// The best of several calls: what the machine does besides only makes a call longer.
fn best(plan: &Arc<Plan>, scheduler: Scheduler) -> f64 {
    let executor = executor(plan, scheduler, 1);
    let request = plan.request_from_text("").unwrap();
    let call = || {
        let started = Instant::now();
        executor.call(&request).unwrap();
        started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| call()).fold(f64::INFINITY, f64::min)
}

#[test]
fn branches_that_wait_overlap_only_under_the_asynchronous_scheduler() {
    let plan = Arc::new(Plan::builtin("parallel_sleep_plan").unwrap());
    let (together, apart) = (best(&plan, Scheduler::Async), best(&plan, Scheduler::Sync));
    assert!(apart >= 0.040, "two sleeps of 20 ms took {apart} s");
    assert!(together >= 0.020, "a sleep of 20 ms took {together} s");
    let ratio = together / apart;
    assert!((0.4..0.75).contains(&ratio), "{together} s / {apart} s = {ratio}");
}

/// Rows are doubled 21 times, which no batch may hold.
#[test]
fn a_plan_that_grows_without_end_fails_and_does_no_harm() {
    let mut nodes = json!({"node_00": {"op": "source", "columns": [["id", "int"]], "rows": [[1]]}});
    for step in 1..=21 {
        let input = format!("node_{:02}", step - 1);
        nodes[format!("node_{step:02}")] = json!({"op": "concat", "inputs": [input, input]});
    }
    let file = json!({"plan": "growing", "nodes": nodes, "output": "node_21"});
    let plan = Arc::new(Plan::parse(&file.to_string()).unwrap());
    let error = executor(&plan, Scheduler::Async, 1).call(&plan.request_from_text("").unwrap()).unwrap_err();
    assert_eq!(error.class(), FailureClass::TooManyRows);
    assert!(error.to_string().starts_with("node \"node_21\" failed: 2097152 rows are more than"), "{error}");
}

#[test]
fn a_bench_counts_requests_that_do_not_fit_beside_the_latencies() {
    let plan = Arc::new(Plan::builtin("concat_plan").unwrap());
    let executor = executor(&plan, Scheduler::Async, 2);
    let requests =
        ["{\"user_id\": 1}", "{\"user_id\": \"one\"}", "nonsense"].map(|text| plan.request_from_text(text));
    let options = BenchOptions {
        iterations: 30.try_into().unwrap(),
        concurrency: NonZeroUsize::new(4).unwrap(),
        warmup: 5,
    };
    let measured = bench(&executor, &requests, &options, &AtomicBool::new(false));
    assert_eq!(measured.latencies_ns.len(), 10);
    assert_eq!(measured.failures.into_iter().collect::<Vec<_>>(), [(FailureClass::BadInput, 20)]);
    assert!(
        measured.messages[&FailureClass::BadInput].contains("must be of type int")
            || measured.messages[&FailureClass::BadInput].contains("not JSON")
    );
}

#[test]
fn a_bench_that_is_stopped_keeps_what_it_has() {
    let plan = Arc::new(Plan::builtin("concat_plan").unwrap());
    let executor = executor(&plan, Scheduler::Async, 2);
    let requests = [plan.request_from_text("")];
    let options =
        BenchOptions { iterations: u64::MAX.try_into().unwrap(), concurrency: NonZeroUsize::MIN, warmup: 0 };
    let stop = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        let bench = scope.spawn(|| bench(&executor, &requests, &options, &stop));
        thread::sleep(std::time::Duration::from_millis(50));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        bench.join().unwrap()
    });
    let report = measured.report(&executor, &options);
    assert!(report.succeeded > 0 && report.failed == 0);
    assert_eq!(report.iterations, report.succeeded);
    // Every figure is a latency that was observed.
    for figure in [report.min_us, report.p50_us, report.p90_us, report.p99_us, report.max_us] {
        assert!(measured.latencies_ns.iter().any(|latency| *latency as f64 / 1e3 == figure.unwrap()));
    }
}

#[test]
fn a_request_of_another_shape_is_no_call() {
    let plan = Plan::builtin("concat_plan").unwrap();
    let error: CallError = plan.request_from_text("{\"userid\": 1}").unwrap_err().into();
    assert_eq!(error.class(), FailureClass::BadInput);
    assert_eq!(error.to_string(), "the plan has no parameter \"userid\"; did you mean \"user_id\"?");
}
