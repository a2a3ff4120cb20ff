//! What the HTTP layer counts, and `GET /metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exposition::Exposition;
use crate::metrics::{Histogram, Metrics};

/// What the HTTP layer counts.
#[derive(Default)]
pub(super) struct HttpMetrics {
    open: Arc<AtomicU64>,
    turned_away: AtomicU64,
    requests: Mutex<Requests>,
}

#[derive(Default)]
struct Requests {
    /// By route, method and status.
    answered: BTreeMap<(&'static str, &'static str, u16), u64>,
    /// By route.
    seconds: BTreeMap<&'static str, Histogram>,
}

/// Counts as an open connection while it lives.
pub(super) struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpMetrics {
    /// A connection was taken.
    pub(super) fn connection(&self) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.open.clone())
    }

    /// A connection found no place.
    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered; `duration` is from its head in hand to the head of its answer ready.
    pub(super) fn answered(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        duration: Duration,
    ) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.answered.entry((route, method, status)).or_default() += 1;
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        requests.seconds.entry(route).or_default().add(duration_ns);
    }

    /// Everything that is counted, as Prometheus reads it.
    pub(super) fn text(&self, of_service: &Metrics) -> String {
        let mut text = Exposition::default();
        service(&mut text, of_service);
        self.http(&mut text);
        text.into_text()
    }

    fn http(&self, text: &mut Exposition) {
        let open = self.open.load(Ordering::Relaxed);
        text.gauge("virtmark_http_connections", "Open connections.", open);
        text.counter(
            "virtmark_http_connections_refused_total",
            "Connections that found every place taken.",
            [(Vec::new(), self.turned_away.load(Ordering::Relaxed))],
        );
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        text.counter(
            "virtmark_http_requests_total",
            "Requests answered, by route, method and status.",
            requests.answered.iter().map(|((route, method, status), count)| {
                let labels = vec![
                    ("route", (*route).into()),
                    ("method", (*method).into()),
                    ("status", status.to_string()),
                ];
                (labels, *count)
            }),
        );
        text.histogram(
            "virtmark_http_request_seconds",
            "Time from the head of a request to the head of its answer, by route.",
            requests.seconds.iter().map(|(route, histogram)| (vec![("route", (*route).into())], histogram)),
        );
    }
}

fn service(text: &mut Exposition, metrics: &Metrics) {
    text.gauge("virtmark_sandboxes", "Sandboxes, those in creation included.", metrics.sandboxes);
    text.gauge("virtmark_warm_machines", "Warm machines that wait.", metrics.warm_ready);
    text.gauge("virtmark_snapshots", "Snapshots that can be restored.", metrics.snapshots);
    text.gauge(
        "virtmark_committed_memory_bytes",
        "Memory promised to sandboxes and warm machines.",
        metrics.memory_committed_bytes,
    );
    text.gauge(
        "virtmark_committed_vcpus",
        "Virtual CPUs promised to sandboxes and warm machines.",
        metrics.vcpus_committed,
    );
    text.counter(
        "virtmark_sandboxes_created_total",
        "Sandboxes made, by how they started.",
        metrics.created.iter().map(|(start, count)| (vec![("start", start.as_str().into())], *count)),
    );
    text.counter(
        "virtmark_sandboxes_failed_total",
        "Sandboxes that could not be made or failed later, by class of failure.",
        metrics.failed.iter().map(|(class, count)| (vec![("class", class.to_string())], *count)),
    );
    text.counter(
        "virtmark_sandboxes_destroyed_total",
        "Sandboxes destroyed, by reason.",
        metrics.destroyed.iter().map(|(reason, count)| (vec![("reason", (*reason).into())], *count)),
    );
    text.counter(
        "virtmark_execs_total",
        "Commands that ended with an answer.",
        [(Vec::new(), metrics.execs)],
    );
    text.counter(
        "virtmark_rejected_total",
        "Requests that the service did not serve, by code of the error.",
        metrics.rejected.iter().map(|(code, count)| (vec![("code", (*code).into())], *count)),
    );
    text.counter("virtmark_templates_made_total", "Templates made.", [(Vec::new(), metrics.templates_made)]);
    text.counter(
        "virtmark_warm_machines_lost_total",
        "Warm machines that could not be made, or died while they waited.",
        [(Vec::new(), metrics.warm_lost)],
    );
    text.histogram(
        "virtmark_create_seconds",
        "Duration of creations that succeeded, by start.",
        metrics.create_s.iter().map(|(start, histogram)| (vec![("start", start.as_str().into())], histogram)),
    );
    text.histogram(
        "virtmark_exec_seconds",
        "Duration of commands that ended with an answer, by their sandbox's start.",
        metrics.exec_s.iter().map(|(start, histogram)| (vec![("start", start.as_str().into())], histogram)),
    );
}
