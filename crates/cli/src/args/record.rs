//! Options of every command that can record its machines.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use virtmark_recorder::SHORTEST_INTERVAL;

/// Whether machines are recorded while they live, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recording")]
pub(crate) struct RecordArguments {
    /// Record every machine, warm-ups included, into this time-series store; created, with room for these machines,
    /// when it is not there
    #[arg(long, value_name = "STORE")]
    pub(crate) record: Option<PathBuf>,

    /// Between two samples, which are taken on its whole multiples
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval, requires = "record")]
    pub(crate) record_interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = crate::duration::parse(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err(format!("{text:?} is shorter than {SHORTEST_INTERVAL:?}, the shortest interval"));
    }
    Ok(interval)
}
