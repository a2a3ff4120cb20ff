//! Machines recorded while a scenario drives them.

use serde_json::{Value, json};
use virtmark_recorder::{Recorder, RecorderOptions};
use virtmark_scenarios::Progress as _;

use crate::args::RecordArguments;
use crate::platform::Platform;
use crate::progress::Progress;

/// Starts to record, if that is asked for, into a store with room for `machines` machines.
pub(crate) fn start(
    options: &RecordArguments,
    machines: u32,
    platform: &Platform,
    progress: &Progress,
) -> anyhow::Result<Option<Recorder>> {
    let Some(store) = &options.record else { return Ok(None) };
    let is_new = !store.exists();
    let facts = platform.hypervisor.facts();
    let mut labels = vec![("hypervisor".to_owned(), facts.name.clone())];
    labels.extend(facts.accelerator.map(|accelerator| ("accelerator".to_owned(), accelerator.to_string())));
    let recorder_options = RecorderOptions { labels, ..RecorderOptions::every(options.record_interval) };
    let notice = {
        let progress = progress.clone();
        Box::new(move |text: &str| progress.warn(text))
    };
    if is_new {
        let bytes = virtmark_recorder::default_options(machines)?.size_bytes();
        let mib = bytes as f64 / f64::from(1 << 20);
        progress
            .note(&format!("creating the store {} of {mib:.1} MiB for {machines} machines", store.display()));
    }
    Ok(Some(Recorder::open(store, machines, recorder_options, notice)?))
}

/// Ends the recording and says what it took. What goes wrong now costs no sample of the scenario.
pub(crate) fn finish(recorder: Recorder, progress: &Progress) {
    match recorder.finish() {
        Ok(summary) => progress.note(&summary.to_string()),
        Err(error) => progress.warn(&format!("the recording of machines is not complete: {error}")),
    }
}

/// The options, as they go on record.
pub(crate) fn configuration(options: &RecordArguments) -> Value {
    let interval_ns = u64::try_from(options.record_interval.as_nanos()).ok();
    json!({
        "record": options.record,
        "record_interval_ns": options.record.as_ref().and(interval_ns),
    })
}
