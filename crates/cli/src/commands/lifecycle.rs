//! `virtmark lifecycle`

use serde_json::json;
use virtmark_scenarios::lifecycle::{Lifecycle, LifecyclePlan, SCENARIO};

use super::present::{Form, present};
use crate::args::{LifecycleArguments, LifecycleFormat};
use crate::exit::Exit;
use crate::measure::{Request, measure};

pub(crate) fn run(options: &LifecycleArguments, quiet: bool) -> anyhow::Result<Exit> {
    let plan = LifecyclePlan { iterations: options.iterations, warmup: options.warmup };
    let timeout_ns = u64::try_from(options.timeout.as_nanos())?;
    let mut on_record = serde_json::to_value(&plan)?;
    on_record["timeout_ns"] = json!(timeout_ns);
    let request = Request {
        scenario: SCENARIO,
        options: on_record,
        machine: &options.machine,
        endpoint: None,
        // Each life has a second machine, from the first one's snapshot.
        record: Some((
            &options.record,
            options.iterations.get().saturating_add(options.warmup).saturating_mul(2),
        )),
        archive: &options.archive,
        quiet,
    };
    let measured = measure(request, |platform, context| {
        let scratch = platform.snapshot_dir(&options.machine)?;
        let machine = platform.machine(&options.machine, options.timeout);
        let lifecycle = Lifecycle { plan, machine, scratch, stop_deadline: options.timeout };
        Ok(lifecycle.run(context)?)
    })?;
    let form = match options.format {
        LifecycleFormat::Csv => Form::Csv,
        LifecycleFormat::Json => Form::Json,
    };
    present(&measured.run, &measured.samples, form, quiet)?;
    measured.exit()
}
