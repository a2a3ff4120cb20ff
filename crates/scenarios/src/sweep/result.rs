//! From how a run ended to its row and its samples.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use virtmark_load::{Outcome as Measured, TargetSpec};
use virtmark_model::{FailureClass, Outcome, Unit};

use super::plan::{Driven, SweepPlan};
use super::row::Row;
use super::schedule::Step;
use crate::Result;
use crate::recorder::Recorder;

/// The metric of which every run has exactly one sample, a failure if it has no throughput.
pub const METRIC: &str = "throughput";
/// The label of that sample in which its whole row is, as JSON.
pub(super) const ROW_LABEL: &str = "row";
/// How a process ends that the kernel kills.
const KILLED: i32 = 128 + 9;
/// Percentiles that are told, with the fields in which they are.
const PERCENTILES: [(f64, &str); 3] = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99")];

/// A run that has ended, on its way to a row.
#[derive(Clone, Debug)]
pub(super) struct RunResult {
    pub(super) row: Row,
    /// When it began.
    pub(super) started: Instant,
    /// Why it has no figures, if it has none.
    pub(super) failure: Option<(FailureClass, String)>,
}

impl RunResult {
    /// A run that begins now.
    pub(super) fn begin(plan: &SweepPlan, step: Step) -> Self {
        let is_plan = matches!(&plan.target, Driven::Generator { spec: TargetSpec::Plan(_) });
        let mut row = Row {
            ts: Some(Timestamp::now()),
            plan: plan.name.clone(),
            vcpus: (step.vcpus > 0).then_some(step.vcpus),
            cpu_threads: is_plan.then(|| plan.threads(step.vcpus)),
            io_threads: is_plan.then_some(plan.io_threads),
            asynchronous: plan.is_async(),
            concurrency: step.rate_per_second.is_none().then_some(step.concurrency),
            duration_sec: Some(plan.duration().as_secs_f64()),
            run_idx: Some(step.run_idx),
            rate: step.rate_per_second,
            settings: plan.settings(),
            ..Row::default()
        };
        if step.rate_per_second.is_some() {
            row.details.insert("in_flight".into(), step.concurrency.into());
        }
        Self { row, started: Instant::now(), failure: None }
    }

    /// A word for those who read the row.
    pub(super) fn warn(&mut self, words: impl Into<String>) {
        self.row.warnings.push(words.into());
    }

    /// It has no figures.
    pub(super) fn fail(&mut self, class: FailureClass, message: impl Into<String>) {
        let message = message.into();
        self.detail("failure", json!({ "class": class, "message": message }));
        self.failure = Some((class, message));
    }

    /// It was killed at its time limit.
    pub(super) fn time_out(&mut self, timeout: Duration) {
        self.row.exit_code = Some(KILLED);
        self.row.timeout_killed = Some(true);
        self.fail(FailureClass::Timeout, format!("the run did not end within {timeout:?} and was killed"));
    }

    /// Something that has no column.
    pub(super) fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.row.details.insert(name.into(), value.into());
    }

    /// The figures of a run that was measured.
    pub(super) fn take(&mut self, measured: &Measured) {
        let row = &mut self.row;
        row.exit_code = Some(0);
        row.timeout_killed = Some(false);
        row.qps = Some(measured.throughput_per_s());
        row.elapsed_sec = Some(measured.elapsed_ns as f64 / 1e9);
        row.completed = Some(measured.completed);
        row.p50_ns = measured.latency.percentile_ns(50.0);
        row.p90_ns = measured.latency.percentile_ns(90.0);
        row.p99_ns = measured.latency.percentile_ns(99.0);
        row.max_ns = measured.latency.max_ns();
        row.errors =
            Some(measured.errors.iter().map(|(class, error)| (class.clone(), error.count)).collect());
        row.error_messages =
            measured.errors.iter().map(|(class, error)| (class.clone(), error.message.clone())).collect();
        row.histogram = serde_json::to_value(&measured.latency)
            .ok()
            .and_then(|latency| Some(latency.get("hdr")?.as_str()?.to_owned()));
        if let Some(open) = &measured.open {
            row.dropped = Some(open.dropped);
            row.late = Some(open.late);
            row.lag_p50_ns = open.lag.percentile_ns(50.0);
            row.lag_p99_ns = open.lag.percentile_ns(99.0);
            row.lag_max_ns = open.lag.max_ns();
            self.detail("due", open.due);
        }
        self.take_memory(measured);
        self.take_cost(measured);
        self.take_doubts(measured);
    }

    fn take_memory(&mut self, measured: &Measured) {
        let usage = &measured.usage;
        let (bytes, of) = match usage.children_max_rss_bytes {
            0 => (usage.max_rss_bytes, "the load generator, and the plan in it"),
            bytes => (bytes, "the largest process of the command"),
        };
        self.row.ru_maxrss_kib = Some(bytes / 1024);
        self.row.ru_maxrss_of = Some(of.into());
    }

    /// Whose memory it is when a server was called.
    pub(super) fn served_with(&mut self, rss_kib: Option<u64>) {
        self.row.ru_maxrss_kib = rss_kib;
        self.row.ru_maxrss_of = rss_kib.map(|_| "the service's process".to_owned());
    }

    fn take_cost(&mut self, measured: &Measured) {
        let usage = &measured.usage;
        self.detail("generator_cpu_ns", usage.cpu_user_ns + usage.cpu_system_ns);
        if let Some(overhead) = measured.overhead_ns_per_call {
            self.detail("overhead_ns_per_call", overhead);
        }
        self.detail("warmup_ns", measured.warmup.elapsed_ns);
    }

    /// What stands between the figures and what they are taken for.
    fn take_doubts(&mut self, measured: &Measured) {
        if measured.cut_off > 0 {
            self.detail("cut_off", measured.cut_off);
            self.detail("oldest_cut_off_ns", measured.oldest_cut_off_ns);
        }
        if measured.stuck > 0 {
            let requests = if measured.stuck == 1 { "request" } else { "requests" };
            self.warn(format!("{} {requests} could not be ended when the time was up", measured.stuck));
        }
        if !measured.warmup.is_whole {
            self.detail("warmup_requests", measured.warmup.completed + measured.warmup.failed);
            self.warn("the warm-up was cut short: it takes no longer than the run itself");
        }
        let thin: Vec<&str> = PERCENTILES
            .iter()
            .filter(|(p, _)| measured.completed > 0 && !measured.latency.supports(*p))
            .map(|(_, name)| *name)
            .collect();
        if !thin.is_empty() {
            self.detail("too_few_requests_for", thin);
        }
        if measured.completed == 0 {
            self.explain_nothing(measured);
        }
    }

    /// A level at which no request succeeded has no latency, and its throughput of 0 is a failure.
    fn explain_nothing(&mut self, measured: &Measured) {
        let worst = measured.errors.iter().max_by_key(|(_, error)| error.count);
        match worst {
            Some((class, error)) => {
                let class_of_all =
                    if class == "timeout" { FailureClass::Timeout } else { FailureClass::Other };
                let failed = measured.failed();
                self.fail(
                    class_of_all,
                    format!("all {failed} requests failed, most with {class}: {}", error.message),
                );
            }
            None => {
                let oldest = Duration::from_nanos(measured.oldest_cut_off_ns.unwrap_or(0));
                let under_way = measured.cut_off;
                self.fail(
                    FailureClass::Timeout,
                    format!("no request ended; {under_way} were under way, the oldest for {oldest:.1?}"),
                );
            }
        }
    }

    /// Keeps it in the archive: one sample for each figure.
    pub(super) fn record(&self, recorder: &Recorder<'_>) -> Result<()> {
        let row = &self.row;
        let labels = self.labels();
        let mut with_row = labels.clone();
        // The settings are the run's configuration, once.
        let slim = Row { settings: Default::default(), ..row.clone() };
        if let Ok(text) = serde_json::to_string(&slim) {
            with_row.insert(ROW_LABEL.into(), text);
        }
        let outcome = match (&self.failure, row.qps) {
            (Some((class, message)), _) => Outcome::Failure { class: *class, message: message.clone() },
            (None, Some(qps)) => Outcome::Success { value: qps },
            (None, None) => Outcome::Skipped { reason: "the run has no throughput".into() },
        };
        recorder.keep(METRIC, Unit::PerSecond, self.started, outcome, Vec::new(), with_row)?;
        let figures = [
            ("latency_p50", Unit::Ns, row.p50_ns.map(|ns| ns as f64)),
            ("latency_p90", Unit::Ns, row.p90_ns.map(|ns| ns as f64)),
            ("latency_p99", Unit::Ns, row.p99_ns.map(|ns| ns as f64)),
            ("latency_max", Unit::Ns, row.max_ns.map(|ns| ns as f64)),
            ("error_ratio", Unit::Ratio, row.error_ratio()),
            ("peak_rss", Unit::Bytes, row.ru_maxrss_kib.map(|kib| kib as f64 * 1024.0)),
        ];
        for (metric, unit, value) in figures {
            let Some(value) = value else { continue };
            let outcome = Outcome::Success { value };
            recorder.keep(metric, unit, self.started, outcome, Vec::new(), labels.clone())?;
        }
        Ok(())
    }

    /// What tells its samples from those of other runs.
    fn labels(&self) -> BTreeMap<String, String> {
        let row = &self.row;
        let pairs = [
            ("plan", Some(row.plan.clone())),
            ("vcpus", row.vcpus.map(|value| value.to_string())),
            ("concurrency", row.concurrency.map(|value| value.to_string())),
            ("rate", row.rate.map(|value| value.to_string())),
            ("run_idx", row.run_idx.map(|value| value.to_string())),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan::Load;
    use super::super::plan::tests::small;
    use super::*;

    /// An outcome with these latencies and errors, as the generator writes it.
    fn measured(latencies_ns: &[u64], errors: Value, cut_off: u64) -> Measured {
        let mut latency = virtmark_load::Latencies::new();
        latencies_ns.iter().for_each(|ns| latency.record(*ns));
        let usage = json!({
            "cpu_user_ns": 1, "cpu_system_ns": 2, "children_cpu_user_ns": 0, "children_cpu_system_ns": 0,
            "max_rss_bytes": 4096, "children_max_rss_bytes": 0,
        });
        let warmup = json!({ "completed": 3, "failed": 0, "elapsed_ns": 7, "is_whole": true });
        serde_json::from_value(json!({
            "ended": "completed", "elapsed_ns": 500_000_000, "completed": latencies_ns.len(), "errors": errors,
            "cut_off": cut_off, "oldest_cut_off_ns": (cut_off > 0).then_some(400_000_000), "stuck": 0,
            "latency": latency, "open": null, "warmup": warmup, "usage": usage, "overhead_ns_per_call": 90.0,
        }))
        .unwrap()
    }

    fn result(measured: &Measured) -> RunResult {
        let plan = small();
        let mut result = RunResult::begin(&plan, plan.steps()[0]);
        result.take(measured);
        result
    }

    #[test]
    fn figures_are_those_of_the_requests_that_succeeded() {
        let errors = json!({ "http_5xx": { "count": 5, "message": "status 500" } });
        let result = result(&measured(&[1_000, 2_000, 9_000], errors, 1));
        let row = &result.row;
        assert!(result.failure.is_none());
        assert_eq!(row.qps, Some(6.0));
        assert_eq!((row.p50_ns, row.p99_ns, row.max_ns), (Some(2_000), Some(9_000), Some(9_000)));
        assert_eq!(row.error_ratio(), Some(5.0 / 8.0));
        assert_eq!((row.ru_maxrss_kib, row.exit_code, row.timeout_killed), (Some(4), Some(0), Some(false)));
        assert_eq!(row.details["cut_off"], 1);
        assert_eq!(row.details["too_few_requests_for"], json!(["p90", "p99"]));
        assert!(row.counts());
    }

    #[test]
    fn a_level_without_a_success_is_a_failure_by_what_happened_most() {
        let errors = json!({
            "timeout": { "count": 9, "message": "too late" }, "refused": { "count": 1, "message": "no" }
        });
        let result_of = |errors, cut_off| result(&measured(&[], errors, cut_off)).failure.unwrap();
        let (class, message) = result_of(errors, 0);
        assert_eq!(class, FailureClass::Timeout);
        assert!(message.contains("all 10 requests failed, most with timeout: too late"), "{message}");
        let (class, message) = result_of(json!({ "refused": { "count": 1, "message": "no" } }), 0);
        assert_eq!((class, message.contains("refused")), (FailureClass::Other, true));
        let (class, message) = result_of(json!({}), 4);
        assert_eq!(class, FailureClass::Timeout);
        assert!(message.contains("4 were under way, the oldest for 400.0ms"), "{message}");
    }

    #[test]
    fn a_killed_run_has_no_figures() {
        let plan = small();
        let mut result = RunResult::begin(&plan, plan.steps()[0]);
        result.time_out(Duration::from_secs(60));
        assert_eq!((result.row.exit_code, result.row.timeout_killed), (Some(137), Some(true)));
        assert!(!result.row.counts() && result.row.qps.is_none());
    }

    #[test]
    fn levels_of_an_open_loop_are_rates() {
        let load = Load::Open { rates_per_second: vec![12.5], in_flight: 9 };
        let plan = SweepPlan { load, ..small() };
        let row = RunResult::begin(&plan, plan.steps()[0]).row;
        assert_eq!((row.concurrency, row.rate), (None, Some(12.5)));
        assert_eq!(row.details["in_flight"], 9);
    }

    #[test]
    fn every_figure_is_a_sample_and_the_row_comes_back_from_one_of_them() {
        struct Nobody;
        impl crate::Progress for Nobody {
            fn begin(&self, _: crate::Plan) {}
            fn warmed_up(&self) {}
            fn recorded(&self, _: &virtmark_model::Sample) {}
            fn warn(&self, _: &str) {}
        }
        let mut samples = Vec::new();
        let result = result(&measured(&[1_000, 2_000], json!({}), 0));
        result.record(&Recorder::new(&mut samples, &Nobody, Instant::now())).unwrap();
        let metrics: Vec<&str> = samples.iter().map(|sample| sample.metric.as_str()).collect();
        let all = [
            "throughput",
            "latency_p50",
            "latency_p90",
            "latency_p99",
            "latency_max",
            "error_ratio",
            "peak_rss",
        ];
        assert_eq!(metrics, all);
        assert_eq!(samples[0].outcome.value(), Some(4.0));
        assert_eq!(samples[1].labels["concurrency"], "1");
        let row: Row = serde_json::from_str(&samples[0].labels[ROW_LABEL]).unwrap();
        assert_eq!(Row { settings: result.row.settings.clone(), ..row }, result.row);
    }
}
