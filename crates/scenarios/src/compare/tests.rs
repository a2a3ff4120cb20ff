use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use virtmark_model::{Accelerator, Environment, FailureClass, ImageFacts, Outcome, RunId, RunStatus, Unit};

use super::*;
use crate::{Block, Ending, Interrupt, Plan, Progress, Sink};

fn run(id: &str, configuration: Value) -> Run {
    let mut environment = Environment::default();
    environment.hypervisor.name = "qemu".into();
    environment.hypervisor.accelerator = Some(Accelerator::Tcg);
    environment.image = Some(ImageFacts { kernel_sha256: "k".into(), ..ImageFacts::default() });
    Run {
        id: serde_json::from_value::<RunId>(json!(format!("tti-20260102-030405-{id}"))).unwrap(),
        scenario: "tti".into(),
        started_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        finished_at: None,
        status: RunStatus::Complete,
        configuration,
        environment,
    }
}

fn samples(metric: &str, unit: Unit, values: impl IntoIterator<Item = f64>) -> Vec<Sample> {
    let sample = |(seq, value)| Sample {
        seq,
        metric: metric.into(),
        unit,
        started_ns: seq,
        outcome: Outcome::Success { value },
        phases: Vec::new(),
        labels: BTreeMap::new(),
    };
    (0..).zip(values).map(sample).collect()
}

/// Values around 1000 that never repeat and stray by a few per cent.
fn noise(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(|number| 1000.0 + ((number * 37 + 11) % 59) as f64)
}

fn of<'a>(run: &'a Run, samples: &'a [Sample]) -> Recorded<'a> {
    Recorded { run, samples }
}

fn compared(a: &[Sample], b: &[Sample], request: &Request) -> Comparison {
    let (left, right) = (run("aaaaaa", json!({})), run("bbbbbb", json!({})));
    compare(Recorded { run: &left, samples: a }, Recorded { run: &right, samples: b }, request).unwrap()
}

#[test]
fn a_metric_that_grew_is_worse_or_better_as_its_unit_says() {
    let request = Request::default();
    for (unit, verdict) in [(Unit::Ns, Verdict::Worse), (Unit::PerSecond, Verdict::Better)] {
        let (a, b) = (samples("m", unit, noise(50)), samples("m", unit, noise(50).map(|v| 1.2 * v)));
        let comparison = compared(&a, &b, &request);
        assert_eq!(comparison.verdict, verdict);
        let [metric] = &comparison.metrics[..] else { panic!("{comparison:?}") };
        assert!((metric.ratio.unwrap() - 1.2).abs() < 0.02, "{metric:?}");
        assert_eq!((metric.a.blocks, metric.b.succeeded), (10, 50));
        assert_eq!(metric.p_value, metric.adjusted_p_value);
        assert!(comparison.notes[0].contains("different times"), "{:?}", comparison.notes);
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!(json["metrics"][0]["direction"], if unit == Unit::Ns { "lower" } else { "higher" });
        assert_eq!(serde_json::from_value::<Comparison>(json).unwrap(), comparison);
    }
}

#[test]
fn the_same_is_no_difference_and_few_samples_cannot_tell() {
    let same = samples("m", Unit::Ns, noise(50));
    assert_eq!(compared(&same, &same, &Request::default()).verdict, Verdict::NoDifference);
    let few = compared(&same[..4], &same[..4], &Request::default());
    assert_eq!(few.verdict, Verdict::CannotTell);
    assert!(few.metrics[0].reason.contains("4 blocks cannot show"), "{few:?}");
}

#[test]
fn what_differs_is_refused_all_at_once_and_allowed_by_name() {
    let a = run("aaaaaa", json!({"vcpus": 1, "command": "true", "warmup": 1, "command_line": ["x"]}));
    let mut b = run("bbbbbb", json!({"vcpus": 2, "command": "true", "warmup": 5, "command_line": ["y"]}));
    b.environment.hypervisor.accelerator = Some(Accelerator::Kvm);
    b.environment.image.as_mut().unwrap().kernel_sha256 = "other".into();
    let values = samples("tti", Unit::Ns, noise(30));
    let mut request = Request::default();
    let error = compare(of(&a, &values), of(&b, &values), &request).unwrap_err();
    let CompareError::Different { refused, .. } = &error else { panic!("{error}") };
    let found: Vec<Difference> = refused.iter().map(|differing| differing.difference).collect();
    assert_eq!(found, [Difference::Accelerator, Difference::Kernel, Difference::Size]);
    let text = error.to_string();
    assert!(text.contains("accelerator (tcg and kvm; --allow accelerator)"), "{text}");
    assert!(text.contains("virtual CPUs (1 and 2; --allow size)"), "{text}");
    request.allowed = vec![Difference::Accelerator, Difference::Kernel];
    let error = compare(of(&a, &values), of(&b, &values), &request).unwrap_err();
    assert!(matches!(&error, CompareError::Different { refused, .. } if refused.len() == 1), "{error}");
    request.allowed.push(Difference::Size);
    assert_eq!(compare(of(&a, &values), of(&b, &values), &request).unwrap().differences.len(), 3);
    b.configuration["command"] = json!("false");
    let error = compare(of(&a, &values), of(&b, &values), &request).unwrap_err().to_string();
    assert!(error.contains("command (\"true\" and \"false\"; --allow configuration)"), "{error}");
    b.scenario = "restore".into();
    assert!(matches!(
        compare(of(&a, &values), of(&b, &values), &request),
        Err(CompareError::Scenarios { .. })
    ));
}

#[test]
fn names_of_differences_read_back() {
    for difference in Difference::ALL {
        assert_eq!(difference.as_str().parse::<Difference>().unwrap(), difference);
        assert_eq!(serde_json::to_value(difference).unwrap(), difference.as_str());
    }
    assert!("weather".parse::<Difference>().is_err());
}

#[test]
fn metrics_are_chosen_by_name_and_told_apart_by_labels() {
    let mut a = samples("m", Unit::Ns, noise(20));
    a.extend(samples("points", Unit::Count, noise(20)));
    for (number, sample) in a.iter_mut().take(20).enumerate() {
        sample.labels.insert("side".into(), if number % 2 == 0 { "guest" } else { "host" }.into());
        sample.labels.insert("machine".into(), number.to_string());
    }
    let all = compared(&a, &a, &Request::default());
    let names: Vec<_> = all.metrics.iter().map(|metric| metric.labels["side"].as_str()).collect();
    assert_eq!(names, ["guest", "host"]);
    assert_eq!(all.unjudged, ["points"]);
    let request = Request { metrics: vec!["points:higher".parse().unwrap()], ..Request::default() };
    let one = compared(&a, &a, &request);
    assert_eq!((one.metrics.len(), one.metrics[0].direction), (1, Direction::Higher));
    let (left, right) = (run("aaaaaa", json!({})), run("bbbbbb", json!({})));
    let request = Request { metrics: vec!["tti".parse().unwrap()], ..Request::default() };
    let of = |run| Recorded { run, samples: &a };
    let error = compare(of(&left), of(&right), &request).unwrap_err().to_string();
    assert!(error.contains("neither run has such a metric, but m, points"), "{error}");
    assert!("m:sideways".parse::<MetricChoice>().is_err() && ":lower".parse::<MetricChoice>().is_err());
}

#[test]
fn the_side_that_failed_more_often_is_not_praised() {
    let a = samples("m", Unit::Ns, noise(50));
    let mut b = samples("m", Unit::Ns, noise(50).map(|value| value / 2.0));
    assert_eq!(compared(&a, &b, &Request::default()).verdict, Verdict::Better);
    b[7].outcome = Outcome::Failure { class: FailureClass::Timeout, message: "late".into() };
    let found = compared(&a, &b, &Request::default());
    assert_eq!(found.verdict, Verdict::CannotTell);
    assert!(found.metrics[0].reason.contains("A 0 of 50, B 1 of 50"), "{found:?}");
    // Nor is the other one spared for it.
    assert_eq!(compared(&b, &a, &Request::default()).verdict, Verdict::CannotTell);
    for sample in &mut b {
        sample.outcome = Outcome::Failure { class: FailureClass::Timeout, message: "late".into() };
    }
    let found = compared(&a, &b, &Request::default());
    assert!(found.metrics[0].reason.contains("50 of 50 failed") && found.metrics[0].ratio.is_none());
}

#[test]
fn a_value_of_zero_has_no_ratio_and_says_so() {
    let a = samples("m", Unit::Ns, noise(20));
    let b = samples("m", Unit::Ns, noise(20).map(|_| 0.0));
    let found = compared(&a, &b, &Request::default());
    assert_eq!(found.verdict, Verdict::CannotTell);
    assert!(found.metrics[0].reason.contains("not positive"), "{found:?}");
}

struct Nobody;

impl Progress for Nobody {
    fn begin(&self, _: Plan) {}
    fn warmed_up(&self) {}
    fn recorded(&self, _: &Sample) {}
    fn warn(&self, _: &str) {}
}

impl Interrupt for Nobody {
    fn is_requested(&self) -> bool {
        false
    }

    fn wait(&self, _: Duration) -> bool {
        false
    }
}

/// The runs, their samples, and whose turn it was with which block.
type Turns = ([Run; 2], [Vec<Sample>; 2], Vec<(Side, Block)>);

/// Two runs that took turns on a machine that slows down to half its speed meanwhile.
fn took_turns(blocks: u32, iterations: u32, factor: f64) -> Turns {
    let of = |id: &str, side, partner: &str| {
        let partner = run(partner, json!({})).id;
        run(id, json!({"interleaved": Interleaved { partner, side, blocks, purpose: Purpose::Aa }}))
    };
    let runs = [of("aaaaaa", Side::A, "bbbbbb"), of("bbbbbb", Side::B, "aaaaaa")];
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut order = Vec::new();
    let mut clock = 0;
    let sinks: [&mut dyn Sink; 2] = [&mut a, &mut b];
    let plan = Plan { warmups: 0, samples: u64::from(2 * iterations) };
    let ending = interleave(blocks, plan, sinks, &Nobody, &Nobody, |side, turn| {
        order.push((side, turn.block));
        let count = turn.block.share(iterations).len();
        let slow = |step: usize| 1.0 + (clock + step) as f64 / f64::from(2 * iterations);
        let values = noise(count)
            .enumerate()
            .map(|(step, value)| value * slow(step) * if side == Side::B { factor } else { 1.0 });
        for sample in samples("tti", Unit::Ns, values) {
            turn.sink.record(&sample).unwrap();
        }
        clock += count;
        Ok(Ending::Complete)
    });
    assert_eq!(ending.unwrap(), Ending::Complete);
    (runs, [a, b], order)
}

#[test]
fn sides_take_turns_and_samples_tell_their_block() {
    let (_, [a, b], order) = took_turns(4, 10, 1.0);
    use Side::{A, B};
    let sides: Vec<Side> = order.iter().map(|(side, _)| *side).collect();
    assert_eq!(sides, [A, B, B, A, A, B, B, A]);
    let blocks = |of| order.iter().filter(move |(side, _)| *side == of).map(|(_, block)| *block);
    assert!(blocks(A).eq(Block::all(4)) && blocks(B).eq(Block::all(4)));
    for side in [&a, &b] {
        let seqs: Vec<u64> = side.iter().map(|sample| sample.seq).collect();
        assert_eq!(seqs, (0..10).collect::<Vec<_>>());
        let blocks: Vec<&str> = side.iter().map(|sample| sample.labels["block"].as_str()).collect();
        assert_eq!(blocks, ["0", "0", "0", "1", "1", "1", "2", "2", "3", "3"]);
    }
}

#[test]
fn runs_that_took_turns_are_compared_in_pairs_whatever_the_machine_did() {
    for (factor, verdict) in [(1.0, Verdict::NoDifference), (1.1, Verdict::Worse), (0.9, Verdict::Better)] {
        let (mut runs, samples, _) = took_turns(20, 100, factor);
        // What they were made to differ in needs no permission.
        runs[1].configuration["vcpus"] = json!(2);
        let of = |side: usize| Recorded { run: &runs[side], samples: &samples[side] };
        let comparison = compare(of(0), of(1), &Request::default()).unwrap();
        assert_eq!(comparison.verdict, verdict, "{comparison:?}");
        assert!(comparison.interleaved && comparison.notes.is_empty());
        assert_eq!(comparison.differences.len(), 1);
        assert_eq!(comparison.metrics[0].a.blocks, 20);
        // A stranger is no partner.
        let stranger = run("cccccc", json!({}));
        assert_eq!(Interleaved::pair(&runs[0], &stranger), None);
    }
}

#[test]
fn false_alarms_are_counted_over_comparisons_that_share_no_sample() {
    let (runs, samples, _) = took_turns(40, 80, 1.0);
    let pair = [0, 1].map(|side| Recorded { run: &runs[side], samples: &samples[side] });
    let alarms = FalseAlarms::of(&[pair], &Options::default());
    assert_eq!((alarms.interleaved.alarms, alarms.interleaved.comparisons), (0, 4));
    // The machine grew slower by a quarter of its speed between the tens: runs one after the other do take that for a difference.
    assert_eq!((alarms.separate.alarms, alarms.separate.comparisons), (2, 2));
    assert!(alarms.interleaved.interval.unwrap().high > 0.4);
    assert_eq!(FalseAlarms::of(&[], &Options::default()).interleaved.interval, None);
}

/// Whoever compares wants to know how often anything is found, however many metrics there are.
#[test]
fn a_comparison_of_several_metrics_is_one_and_so_is_its_alarm() {
    let (runs, mut samples, _) = took_turns(20, 40, 1.0);
    let (_, others, _) = took_turns(20, 40, 1.2);
    for (of, others) in samples.iter_mut().zip(others) {
        for metric in ["restore", "snapshot"] {
            of.extend(others.iter().map(|sample| Sample { metric: metric.into(), ..sample.clone() }));
        }
    }
    let pair = [0, 1].map(|side| Recorded { run: &runs[side], samples: &samples[side] });
    let alarms = FalseAlarms::of(&[pair], &Options::default());
    assert_eq!((alarms.interleaved.alarms, alarms.interleaved.comparisons), (2, 2));
    // Of a single metric among six ten pairs find nothing, as in a comparison.
    for (side, of) in samples.iter_mut().enumerate() {
        let (_, same, _) = took_turns(20, 40, 1.0);
        of.retain(|sample| sample.metric != "snapshot");
        for metric in ["b", "c", "d", "e"] {
            of.extend(same[side].iter().map(|sample| Sample { metric: metric.into(), ..sample.clone() }));
        }
    }
    let pair = [0, 1].map(|side| Recorded { run: &runs[side], samples: &samples[side] });
    let alarms = FalseAlarms::of(&[pair], &Options::default());
    assert_eq!((alarms.interleaved.alarms, alarms.interleaved.comparisons), (0, 2));
}
