//! All results of one run.

use std::io::{self, Read};

use serde::Serialize;

use super::{Line, Malformed, Metric, Parser};

/// Metrics that are kept of one run; a payload in a loop can print any number.
pub const METRICS_KEPT: usize = 10_000;
/// Malformed lines that are kept of one run.
pub const MALFORMED_KEPT: usize = 100;

/// What a run printed for us.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Results {
    /// In the order of the output.
    pub metrics: Vec<Metric>,
    /// Metrics beyond those that are kept.
    pub metrics_left_out: u64,
    /// Lines that begin like a metric and are none.
    pub malformed: Vec<Malformed>,
    /// Such lines beyond those that are kept.
    pub malformed_left_out: u64,
}

impl Results {
    /// Those in recorded output, read as a stream.
    pub fn read(mut output: impl Read) -> io::Result<Self> {
        let mut results = Self::default();
        let mut parser = Parser::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match output.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => parser.push(&buffer[..count], |line| results.add(line)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        parser.finish(|line| results.add(line));
        Ok(results)
    }

    /// One more, as a [`Parser`] hands it on.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Metric(metric) if self.metrics.len() < METRICS_KEPT => self.metrics.push(metric),
            Line::Metric(_) => self.metrics_left_out += 1,
            Line::Malformed(malformed) if self.malformed.len() < MALFORMED_KEPT => {
                self.malformed.push(malformed)
            }
            Line::Malformed(_) => self.malformed_left_out += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let output = "virtmark: metric a 1 s\nvirtmark: metric\n".repeat(METRICS_KEPT + 5);
        let results = Results::read(output.as_bytes()).unwrap();
        assert_eq!((results.metrics.len(), results.metrics_left_out), (METRICS_KEPT, 5));
        assert_eq!(results.malformed.len(), MALFORMED_KEPT);
        assert_eq!(results.malformed_left_out as usize, METRICS_KEPT + 5 - MALFORMED_KEPT);
    }
}
