//! The Prometheus text format, version 0.0.4: families with their help and type, then their samples.

use std::fmt::{Display, Write as _};

use crate::metrics::{BUCKETS_S, Histogram};

/// A text that grows family by family.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// A family of counters, whose name ends in `_total`.
    pub(super) fn counter<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, V)>,
    ) {
        self.family(name, help, "counter");
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, help, "gauge");
        self.sample(name, "", &[], value);
    }

    /// A family of histograms of seconds.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, &'a Histogram)>,
    ) {
        self.family(name, help, "histogram");
        for (mut labels, histogram) in samples {
            let mut below = 0;
            for (bound, count) in BUCKETS_S.iter().zip(histogram.buckets) {
                below += count;
                labels.push(("le", bound.to_string()));
                self.sample(name, "_bucket", &labels, below);
                labels.pop();
            }
            labels.push(("le", "+Inf".into()));
            self.sample(name, "_bucket", &labels, histogram.count);
            labels.pop();
            self.sample(name, "_sum", &labels, histogram.sum_s);
            self.sample(name, "_count", &labels, histogram.count);
        }
    }

    /// All of it.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    // Writing to a String cannot fail.
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&'static str, String)], value: impl Display) {
        let _ = write!(self.0, "{name}{suffix}");
        for (index, (label, content)) in labels.iter().enumerate() {
            let escaped = content.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{escaped}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::default();
        text.counter("a_total", "As.", [(vec![("kind", "x\"\\\n".into()), ("of", "y".into())], 3)]);
        text.gauge("b_bytes", "Bs.", 1.5);
        let mut histogram = Histogram { count: 3, sum_s: 200.5, ..Histogram::default() };
        histogram.buckets[0] = 1;
        histogram.buckets[15] = 1;
        text.histogram("c_seconds", "Cs.", [(vec![("start", "cold".into())], &histogram)]);
        let text = text.into_text();
        let golden = "# HELP a_total As.\n# TYPE a_total counter\na_total{kind=\"x\\\"\\\\\\n\",of=\"y\"} 3\n\
             # HELP b_bytes Bs.\n# TYPE b_bytes gauge\nb_bytes 1.5\n\
             # HELP c_seconds Cs.\n# TYPE c_seconds histogram\nc_seconds_bucket{start=\"cold\",le=\"0.001\"} 1\n";
        assert!(text.starts_with(golden), "{text}");
        let end = "c_seconds_bucket{start=\"cold\",le=\"100\"} 2\nc_seconds_bucket{start=\"cold\",le=\"+Inf\"} 3\n\
             c_seconds_sum{start=\"cold\"} 200.5\nc_seconds_count{start=\"cold\"} 3\n";
        assert!(text.ends_with(end), "{text}");
    }
}
