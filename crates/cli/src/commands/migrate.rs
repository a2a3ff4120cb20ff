//! `virtmark migrate`

use std::time::Duration;

use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Tone, format};
use virtmark_scenarios::migrate::{
    GUIDE_SIZES_MB, Migrate, MigratePlan, MigrateReport, SCENARIO, Values, that_fit,
};

use super::present::{Form, present};
use crate::args::{MigrateArguments, MigrateFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::{Request, measure};

/// How long a guest may take to answer after its start, and on arrival. `--timeout` is for what is between.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

pub(crate) fn run(options: &MigrateArguments, quiet: bool) -> anyhow::Result<Exit> {
    let plan = plan(options)?;
    let machine = options.machine(plan.sizes_mb.first().copied());
    let request = Request {
        scenario: SCENARIO,
        options: serde_json::to_value(&plan)?,
        machine: &machine,
        endpoint: None,
        record: None,
        archive: &options.archive,
        quiet,
    };
    let measured = measure(request, |platform, context| {
        let machine = platform.machine(&machine, READY_TIMEOUT);
        Ok(Migrate { plan, machine }.run(context)?)
    })?;
    let form = match options.format {
        MigrateFormat::Csv => Form::Csv,
        MigrateFormat::Json => Form::Json,
    };
    present(&measured.run, &measured.samples, form, quiet)?;
    measured.exit()
}

fn plan(options: &MigrateArguments) -> anyhow::Result<MigratePlan> {
    let (sizes_mb, left_out) = match &options.memory[..] {
        [] => that_fit(&GUIDE_SIZES_MB, virtmark_host::memory_available_bytes()),
        // What was asked for by name is attempted, and refused before anything moves when it does not fit.
        sizes => (sizes.to_vec(), Vec::new()),
    };
    if sizes_mb.is_empty() {
        let reasons: Vec<&str> = left_out.iter().map(|left_out| left_out.reason.as_str()).collect();
        let message =
            format!("no size of the guide fits here: {}; give --memory a smaller one", reasons.join("; "));
        return Err(Failure { exit: Exit::OutOfMemory, message }.into());
    }
    let downtime_limit_ms =
        options.downtime_limit.map(|limit| u64::try_from(limit.as_millis())).transpose()?;
    Ok(MigratePlan {
        sizes_mb,
        left_out,
        loads: options.load.clone(),
        dirty_over_bytes: options.dirty_over,
        iterations: options.iterations,
        mode: options.mode,
        channel: options.channel(),
        max_bandwidth_bytes: options.max_bandwidth,
        downtime_limit_ms,
        timeout_ns: u64::try_from(options.timeout.as_nanos())?,
        settle_ns: u64::try_from(options.settle.as_nanos())?,
    })
}

/// One line for each size and load, with the three downtimes beside each other.
pub(crate) fn table(report: &MigrateReport) -> Table {
    let mut table = Table::new("migrations, medians");
    for heading in ["memory", "load"] {
        table.column(heading, Column::Name);
    }
    for heading in
        ["arrived", "time", "down outside", "hypervisor", "in guest", "sent", "rate", "dirty", "rounds"]
    {
        table.column(heading, Column::Figure);
    }
    let value = |values: &Option<Values>, digits: usize, unit: &str| {
        Cell::from(match values {
            Some(values) => format!("{:.digits$}{unit}", values.p50),
            None => "-".into(),
        })
    };
    let time = |values: &Option<Values>| {
        Cell::from(match values {
            Some(values) => format::duration_ns(values.p50 * 1e6),
            None => "-".into(),
        })
    };
    for cell in &report.cells {
        let arrived = (cell.success_rate * cell.attempts as f64).round();
        table.row(vec![
            Cell::from(format!("{} MB", cell.memory_mb)).tone(Tone::Strong),
            cell.load.as_str().into(),
            format!("{arrived} of {}", cell.attempts).into(),
            time(&cell.migration_duration_ms),
            time(&cell.downtime_actual_ms),
            time(&cell.downtime_hypervisor_ms),
            time(&cell.downtime_guest_ms),
            value(&cell.data_transferred_mb, 0, " MB"),
            value(&cell.transfer_rate_mbps, 0, " MB/s"),
            value(&cell.memory_dirty_rate_mbps, 0, " MB/s"),
            value(&cell.rounds, 0, ""),
        ]);
    }
    for cell in &report.cells {
        let words = format!("{} MB, load {}: {}", cell.memory_mb, cell.load, cell.grade_text);
        table.note(words, Tone::Plain);
    }
    for reason in report.cells.iter().flat_map(|cell| &cell.reasons) {
        table.note(reason.as_str(), Tone::Bad);
    }
    for reason in &report.left_out {
        table.note(format!("left out: {reason}"), Tone::Warning);
    }
    if let Some(cell) = report.cells.first() {
        table.note(format!("{} through {}.", cell.mode, cell.channel), Tone::Plain);
    }
    table.note(
        "The guest's own gap is by its own clock, which the hypervisor may stop with it: docs/migrate.md.",
        Tone::Faint,
    );
    table
}
