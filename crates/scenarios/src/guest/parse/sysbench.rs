//! The text that sysbench prints: 0.4, 0.5 and 1.0 differ in headings and units' places.

use super::{ParseError, Reader, after, between};

const READER: Reader = Reader("sysbench");

/// What `sysbench cpu` measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// Events in a second of the whole run: each is all primes up to the limit once. 1.0 prints it; of older versions it
    /// is the number of events by the total time.
    pub events_per_second: f64,
    /// 95th percentile of one event's time, which 0.4 and 0.5 call approximate; absent where it is not printed.
    pub p95_ns: Option<f64>,
}

/// What `sysbench memory` measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Blocks in a second.
    pub operations_per_second: f64,
    /// Bytes in a second. 0.4 writes MB and means 2^20 bytes, as its own block sizes show.
    pub bytes_per_second: f64,
}

/// Reads the output of `sysbench cpu run`, or `sysbench --test=cpu run` of old.
///
/// # Errors
/// When there are no events, or no time.
pub fn cpu(text: &str) -> Result<Cpu, ParseError> {
    let p95_ns = p95_ns(text)?;
    if let Some(rate) = after(text, "events per second:") {
        return Ok(Cpu { events_per_second: READER.number(rate, "events per second")?, p95_ns });
    }
    let events = after(text, "total number of events:")
        .ok_or_else(|| READER.unreadable("there is no total number of events"))?;
    let time = after(text, "total time:").ok_or_else(|| READER.unreadable("there is no total time"))?;
    let seconds = READER.number(time.trim_end_matches('s'), "total time")?;
    let events = READER.number(events, "total number of events")?;
    if seconds <= 0.0 || !(events / seconds).is_finite() {
        return Err(READER.unreadable("its total time is nothing"));
    }
    Ok(Cpu { events_per_second: events / seconds, p95_ns })
}

/// Reads the output of `sysbench memory run`, or `sysbench --test=memory run` of old.
///
/// # Errors
/// When there is no rate of operations or of bytes.
pub fn memory(text: &str) -> Result<Memory, ParseError> {
    let operations = between(text, "Total operations:", " per second)")
        .or_else(|| between(text, "Operations performed:", "ops/sec)"));
    let operations = operations
        .and_then(|found| found.rsplit_once('('))
        .ok_or_else(|| READER.unreadable("there is no rate of operations"))?
        .1;
    let transferred = between(text, "MiB transferred (", "MiB/sec)")
        .or_else(|| between(text, "MB transferred (", "MB/sec)"))
        .ok_or_else(|| READER.unreadable("there is no rate of what was transferred"))?;
    let mebibytes = READER.number(transferred, "the rate of what was transferred")?;
    Ok(Memory {
        operations_per_second: READER.number(operations, "the rate of operations")?,
        bytes_per_second: mebibytes * f64::from(1 << 20),
    })
}

/// The 95th percentile, in nanoseconds: `95th percentile: 3.19` of 1.0 is in milliseconds, older ones say `ms`.
fn p95_ns(text: &str) -> Result<Option<f64>, ParseError> {
    let found = after(text, "95th percentile:").or_else(|| after(text, "approx.  95 percentile:"));
    let milliseconds = found.map(|found| READER.number(found.trim_end_matches("ms"), "the 95th percentile"));
    Ok(milliseconds.transpose()?.map(|milliseconds| milliseconds * 1e6))
}
