//! ComputeSDK result files: their golden form, and the way there and back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;

use common::Fake;
use proptest::prelude::*;
use virtmark_model::{Accelerator, FailureClass, Outcome, Run, Sample, Unit};
use virtmark_scenarios::computesdk::{from_json, to_file};
use virtmark_scenarios::tti::{Mode, TtiReport};

fn run(mode: Mode, iterations: usize) -> Run {
    let configuration = serde_json::json!({
        "iterations": iterations, "warmup": 0, "command": "true", "timeout_ns": 120_000_000_000_u64, "mode": mode,
        "concurrency": iterations, "stagger_ns": 200_000_000,
    });
    let mut run = common::run("tti", configuration, &Fake::new());
    run.environment.host.arch = "x86_64".into();
    run
}

/// One machine: launch and time in microseconds; no time for a failure.
fn samples(machines: &[(u64, Option<u64>)]) -> Vec<Sample> {
    let sample = |(seq, (launched_us, tti_us)): (usize, &(u64, Option<u64>))| Sample {
        seq: seq as u64,
        metric: "tti".into(),
        unit: Unit::Ns,
        started_ns: launched_us * 1000,
        outcome: match tti_us {
            Some(us) => Outcome::Success { value: (us * 1000) as f64 },
            None => {
                Outcome::Failure { class: FailureClass::GuestSilent, message: "no answer in 90 s".into() }
            }
        },
        phases: Vec::new(),
        labels: BTreeMap::from([("machine".into(), format!("tti-{seq}"))]),
    };
    machines.iter().enumerate().map(sample).collect()
}

fn text(mode: Mode, machines: &[(u64, Option<u64>)]) -> String {
    let file = to_file(&run(mode, machines.len()), &samples(machines)).unwrap();
    serde_json::to_string_pretty(&file).unwrap()
}

const MACHINES: [(u64, Option<u64>); 4] =
    [(0, Some(1_134_520)), (200_170, Some(1_134_564)), (401_000, None), (602_930, Some(1_133_000))];

#[test]
fn a_sequential_run_has_its_golden_form() {
    insta::assert_snapshot!(text(Mode::Sequential, &MACHINES));
}

#[test]
fn a_burst_has_its_golden_form() {
    insta::assert_snapshot!(text(Mode::Burst, &MACHINES));
}

#[test]
fn a_staggered_run_has_its_golden_form() {
    insta::assert_snapshot!(text(Mode::Staggered, &MACHINES));
}

#[test]
fn a_run_of_another_scenario_has_no_form_here() {
    let mut run = run(Mode::Sequential, 1);
    run.scenario = "lifecycle".into();
    let error = to_file(&run, &[]).unwrap_err().to_string();
    assert!(error.contains("lifecycle") && error.contains("another --format"), "{error}");
}

/// In the form of the files that the project publishes; the figures are its own of 2026-03-16.
const PUBLISHED: &str = r#"{
  "version": "1.1",
  "timestamp": "2026-03-16T16:09:39.622Z",
  "environment": { "node": "v24.14.0", "platform": "linux", "arch": "x64" },
  "config": { "iterations": 3, "timeoutMs": 120000 },
  "results": [
    {
      "provider": "alpha", "mode": "staggered", "concurrency": 3, "staggerDelayMs": 200,
      "wallClockMs": 3066.39, "timeToFirstReadyMs": 1105.13,
      "rampProfile": [
        { "launchedAt": 0, "readyAt": 1261.91, "ttiMs": 1158.9 },
        { "launchedAt": 401.77, "readyAt": 1596.84, "ttiMs": 1105.13 }
      ],
      "iterations": [
        { "ttiMs": 1158.9 },
        { "ttiMs": 0, "error": "First command execution timed out" },
        { "ttiMs": 1105.13 }
      ],
      "summary": { "ttiMs": { "median": 1132.02, "p95": 1158.9, "p99": 1158.9 } },
      "compositeScore": 59.05, "successRate": 0.6667
    },
    {
      "provider": "beta", "iterations": [{ "ttiMs": 12 }, { "error": "no route" }],
      "summary": { "ttiMs": { "median": 12, "p95": 12, "p99": 12 } }
    },
    {
      "provider": "gamma", "iterations": [], "summary": { "ttiMs": { "median": 0, "p95": 0, "p99": 0 } },
      "compositeScore": 0, "successRate": 0, "skipped": true, "skipReason": "Missing: GAMMA_TOKEN"
    }
  ]
}"#;

#[test]
fn a_published_file_becomes_a_run_for_each_provider() {
    let runs = from_json(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(runs.len(), 3);
    let (run, samples) = &runs[0];
    assert_eq!(run.started_at.to_string(), "2026-03-16T16:09:39.622Z");
    assert_eq!(run.environment.hypervisor.name, "alpha");
    assert_eq!(run.environment.host.os.as_deref(), Some("linux"));
    assert_eq!(run.environment.host.cpu_model, "");
    assert_eq!(run.configuration["imported"], "computesdk");
    assert_eq!(run.configuration["reported"]["compositeScore"], 59.05);
    assert_eq!(samples[0].outcome, Outcome::Success { value: 1_158_900_000.0 });
    assert_eq!(samples[1].outcome.failure(), Some(FailureClass::Timeout));
    assert_eq!((samples[1].started_ns, samples[1].labels["launch"].as_str()), (200_000_000, "intended"));
    assert_eq!(samples[2].started_ns, 401_770_000);
    let report = TtiReport::from_samples(run, samples).unwrap();
    assert_eq!((report.mode, report.iterations_success, report.iterations_failed), (Mode::Staggered, 2, 1));
    assert_eq!(report.concurrent.unwrap().concurrency, 3);

    let (run, samples) = &runs[1];
    assert_eq!(TtiReport::from_samples(run, samples).unwrap().mode, Mode::Sequential);
    assert_eq!(samples[1].outcome.failure(), Some(FailureClass::Other));
    let skipped = Outcome::Skipped { reason: "Missing: GAMMA_TOKEN".into() };
    assert_eq!(runs[2].1[0].outcome, skipped);

    let ids: Vec<_> = runs.iter().map(|(run, _)| run.id.clone()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    let again = from_json(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(again, runs, "a second import of one file is the same runs");
}

#[test]
fn what_is_no_such_file_is_refused_with_the_place() {
    let changed = |from: &str, to: &str| {
        let text = PUBLISHED.replacen(from, to, 1);
        assert_ne!(text, PUBLISHED);
        from_json(text.as_bytes()).unwrap_err().to_string()
    };
    for (from, to, said) in [
        ("\"1.1\"", "\"2.0\"", "version is \"2.0\""),
        ("2026-03-16T16", "yesterday", "timestamp is \"yesterday"),
        ("\"mode\": \"staggered\"", "\"mode\": \"odd\"", "results[0].mode is \"odd\""),
        ("{ \"ttiMs\": 12 }", "{ \"ttiMs\": -12 }", "results[1].iterations[0].ttiMs is -12"),
        ("{ \"ttiMs\": 12 }", "{}", "results[1].iterations[0] has neither ttiMs nor error"),
        ("{ \"ttiMs\": 12 }", "{ \"ttiMs\": \"12\" }", "line 23 column"),
        ("\"provider\": \"beta\",", "", "missing field `provider`"),
    ] {
        let error = changed(from, to);
        assert!(error.contains(said), "{error}");
        assert!(error.starts_with("cannot read the ComputeSDK result file: "), "{error}");
    }
    assert!(from_json(b"").is_err() && from_json(b"[]").is_err() && from_json(&[0xff, 0xfe]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back(
        drawn in prop::collection::vec((0u64..10_000_000, prop::option::of(0u64..100_000_000)), 1..40),
        mode in prop::sample::select(vec![Mode::Sequential, Mode::Burst, Mode::Staggered]),
    ) {
        let (run, samples) = (run(mode, drawn.len()), samples(&drawn));
        let written = serde_json::to_vec(&to_file(&run, &samples).unwrap()).unwrap();
        let read = from_json(&written).unwrap();
        prop_assert_eq!(read.len(), 1);
        let (imported, back) = &read[0];
        prop_assert_eq!(imported.environment.hypervisor.accelerator, Some(Accelerator::Tcg));
        prop_assert_eq!(back.len(), samples.len());
        let mut launched = samples.clone();
        launched.sort_by_key(|sample| sample.started_ns);
        for (sample, back) in launched.iter().zip(back) {
            match (&sample.outcome, &back.outcome) {
                (Outcome::Success { value }, Outcome::Success { value: read }) => {
                    prop_assert!((value - read).abs() <= 5_001.0, "{value} became {read}");
                }
                (one, other) => prop_assert_eq!(one, other),
            }
        }
        let (before, after) =
            (TtiReport::from_samples(&run, &samples).unwrap(), TtiReport::from_samples(imported, back).unwrap());
        prop_assert_eq!(before.mode, after.mode);
        prop_assert_eq!(before.failures, after.failures);
        let json: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let rate = json["results"][0]["successRate"].as_f64().unwrap();
        prop_assert_eq!(rate, before.iterations_success as f64 / drawn.len() as f64);
    }

    /// Whatever the bytes, reading says what is wrong and does not fall over.
    #[test]
    fn damage_is_an_error(at in 0usize..1500, byte: u8) {
        let mut bytes = PUBLISHED.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Err(error) = from_json(&bytes) {
            prop_assert!(error.to_string().starts_with("cannot read"));
        }
    }
}
