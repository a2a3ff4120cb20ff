//! The dashboard names what is recorded, and a real Prometheus answers its queries.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "export_support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeSet;
use std::time::SystemTime;

use prometheus::{Prometheus, installed};
use serde_json::Value;
use virtmark_host::signals::Interrupt;
use virtmark_recorder::export::remote_write::{PushOptions, Pusher};
use virtmark_recorder::export::{METRICS, Metric};
use virtmark_timeseries::{Schema, SeriesKey, StoreOptions, Writer};

const DASHBOARD: &str = include_str!("../../../dashboards/virtmark.json");

/// Words of a query that are neither metrics nor labels.
const FUNCTIONS: [&str; 2] = ["rate", "sum"];

struct Target {
    panel: String,
    expr: String,
    legend: String,
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

fn targets() -> Vec<Target> {
    let mut all = Vec::new();
    for panel in dashboard()["panels"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (panel, expr) = (text(&panel["title"]), text(&target["expr"]));
            all.push(Target { panel, expr, legend: text(&target["legendFormat"]) });
        }
    }
    all
}

/// The metrics a query names, and the labels it names in braces and in `by (…)`.
fn names_in(expr: &str) -> (Vec<&'static Metric>, BTreeSet<String>) {
    let (mut metrics, mut labels) = (Vec::new(), BTreeSet::new());
    let (mut in_labels, mut by) = (false, false);
    let mut rest = expr;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        match (&rest[..end], c) {
            ("", '"') => rest = &rest[1 + rest[1..].find('"').unwrap()..],
            ("", '[') => rest = &rest[rest.find(']').unwrap()..],
            ("", '{') => in_labels = true,
            ("", '(') => in_labels = by,
            ("", '}' | ')') => (in_labels, by) = (false, false),
            ("", _) => {}
            (word, _) if in_labels => {
                labels.insert(word.to_owned());
            }
            ("by", _) => by = true,
            (word, _) if FUNCTIONS.contains(&word) => {}
            (word, _) => {
                let known = METRICS.iter().find(|metric| metric.name == word);
                metrics.push(known.unwrap_or_else(|| panic!("no metric is named {word}: {expr}")));
            }
        }
        rest = &rest[end.max(1)..];
    }
    (metrics, labels)
}

#[test]
fn queries_name_metrics_and_labels_that_are_recorded() {
    let targets = targets();
    let mut used = BTreeSet::new();
    for Target { panel, expr, legend } in &targets {
        let (metrics, mut labels) = names_in(expr);
        let [metric] = metrics[..] else { panic!("{panel}: one metric a query: {expr}") };
        labels.extend(legend.split("{{").skip(1).map(|part| part.split("}}").next().unwrap().to_owned()));
        for label in labels {
            assert!(metric.labels.contains(&label.as_str()), "{panel}: {} has no label {label}", metric.name);
        }
        assert_eq!(expr.contains("rate("), metric.name.ends_with("_total"), "{panel}: {expr}");
        assert_eq!(expr.contains("$machine"), metric.labels.contains(&"machine"), "{panel}: {expr}");
        used.insert(metric.name);
    }
    let all: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(used, all, "every metric has a panel");
}

#[test]
fn variables_and_panels_are_sound() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "machine", "window"]);
    let query = variables[1]["definition"].as_str().unwrap();
    let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
    let (metric, label) = inside.split_once(", ").unwrap();
    let metric = METRICS.iter().find(|known| known.name == metric).unwrap();
    assert!(metric.labels.contains(&label));

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let place = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let (x, y) = (place(panel, "x"), place(panel, "y"));
        for column in x..x + place(panel, "w") {
            for line in y..y + place(panel, "h") {
                assert!(column < 24 && taken.insert((column, line)), "{} overlaps", panel["title"]);
            }
        }
    }
}

#[test]
fn real_prometheus_answers_every_query() {
    if !installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(vec![Schema::new("all", 64)]).unwrap();
    let mut writer = Writer::create(&directory.path().join("store"), &options).unwrap();
    let keys = METRICS.iter().map(|metric| {
        let key = SeriesKey::new(metric.name).unwrap();
        let key =
            metric.labels.iter().fold(key, |key, label| key.with(*label, format!("some {label}")).unwrap());
        (key, metric.kind)
    });
    let series = writer.register_all(&keys.collect::<Vec<_>>()).unwrap();
    let mut recorder = writer.recorder().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for second in now - 60..now {
        let samples: Vec<_> = series.iter().map(|series| (*series, second as f64)).collect();
        assert_eq!(recorder.record_batch(second * 1_000_000_000, &samples), Ok(METRICS.len()));
    }
    let prometheus = Prometheus::start("global: {}\n");
    let cursor = directory.path().join("cursor");
    let mut pusher = Pusher::open(PushOptions::new(prometheus.url()), &cursor, &Interrupt::never()).unwrap();
    pusher.finish(&writer.reader().unwrap()).unwrap();

    for Target { panel, expr, .. } in targets() {
        let query = expr.replace("$machine", "some machine").replace("$window", "5s");
        let found = prometheus.range(&query, (now - 50, now - 1));
        let [samples] = found.values().collect::<Vec<_>>()[..] else { panic!("{panel}: {query}: {found:?}") };
        assert_eq!(samples.len(), 50, "{panel}: {query}");
    }
}
