//! Watching a machine of a service: it can only be asked.

use std::sync::Arc;
use std::time::Duration;

use virtmark_hypervisor::{MachineProbe, MetricKind, Result, Sink};

use crate::machine::{Sandbox, usage};
use crate::service::Service;

pub(crate) struct EndpointProbe {
    pub(crate) service: Arc<Service>,
    pub(crate) sandbox: Arc<Sandbox>,
}

impl MachineProbe for EndpointProbe {
    /// Nothing is known without a request.
    fn observe(&self, _sink: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }

    fn has_questions(&self) -> bool {
        true
    }

    fn ask(&self, patience: Duration, sink: &mut Sink<'_>) -> Result<()> {
        let usage = usage(&self.service, &self.sandbox, patience)?.unwrap_or_default();
        if let Some(cpu_ns) = usage.cpu_ns {
            sink("vmm_cpu_seconds_total", &[], MetricKind::Counter, cpu_ns as f64 / 1e9);
        }
        if let Some(rss_bytes) = usage.rss_bytes {
            sink("vmm_resident_bytes", &[], MetricKind::Gauge, rss_bytes as f64);
        }
        Ok(())
    }
}
