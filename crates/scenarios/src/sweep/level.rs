//! One run in a machine: the generator's program from its start to its last line.

use std::time::Duration;

use virtmark_hypervisor::{Error, ExecHandle, ExecStatus, OutputStream};
use virtmark_load::{Event, Job, Outcome, Progress};

use super::site::Site;

/// What is kept of the end of what the generator says on standard error.
const TAIL_BYTES: usize = 2048;
/// Longer lines are no events.
const LINE_LIMIT_BYTES: usize = 16 << 20;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The machine or the way to it failed.
    Broken(Error),
    /// The generator ended without figures: its exit code, and why.
    Failed { exit_code: i32, message: String },
    /// It has figures.
    Measured(Box<Outcome>),
    /// It was killed at the time limit.
    TimedOut,
}

/// Runs the generator once. `live` hears how far it is.
pub(super) fn run(site: &Site<'_>, job: &Job, timeout: Duration, live: &mut dyn FnMut(Progress)) -> Ended {
    match listen(site, job, timeout, live) {
        Ok(ended) => ended,
        // The agent kills at the limit; when even its word is late, nothing in there answers.
        Err(error) => Ended::Broken(site.explain(error)),
    }
}

fn listen(
    site: &Site<'_>,
    job: &Job,
    timeout: Duration,
    live: &mut dyn FnMut(Progress),
) -> Result<Ended, Error> {
    let job = serde_json::to_vec(job)
        .map_err(|error| Error::io("write the job of the load generator")(error.into()))?;
    let mut command = site.generator(&job)?;
    command.timeout = Some(timeout);
    let mut handle = site.guest.spawn(&command)?;
    let mut said = Said::default();
    while let Some(chunk) = handle.next_output()? {
        match chunk.stream {
            OutputStream::Stderr => said.complain(&chunk.data),
            OutputStream::Stdout => said.take(&chunk.data, live),
        }
    }
    said.conclude(handle.as_mut())
}

/// What the generator has said so far.
#[derive(Debug, Default)]
struct Said {
    line: Vec<u8>,
    complaints: Vec<u8>,
    last: Option<Event>,
}

impl Said {
    fn complain(&mut self, data: &[u8]) {
        self.complaints.extend(data);
        let excess = self.complaints.len().saturating_sub(TAIL_BYTES);
        self.complaints.drain(..excess);
    }

    fn take(&mut self, data: &[u8], live: &mut dyn FnMut(Progress)) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() <= LINE_LIMIT_BYTES {
                self.line.extend(piece);
            }
            if piece.ends_with(b"\n") {
                match serde_json::from_slice(&std::mem::take(&mut self.line)) {
                    Ok(Event::Progress(progress)) => live(progress),
                    Ok(event) => self.last = Some(event),
                    // A target that writes where it should not; the last line still decides.
                    Err(_) => {}
                }
            }
        }
    }

    fn conclude(self, handle: &mut dyn ExecHandle) -> Result<Ended, Error> {
        let (status, _) = handle.wait()?;
        let complaints = String::from_utf8_lossy(&self.complaints).trim().to_owned();
        let exit_code = match status {
            ExecStatus::TimedOut => return Ok(Ended::TimedOut),
            ExecStatus::Exited(code) => code,
            // As a shell says it.
            ExecStatus::Signaled(signal) => 128 + signal,
        };
        Ok(match (self.last, exit_code) {
            (Some(Event::Outcome(outcome)), _) => Ended::Measured(outcome),
            (Some(Event::Failed { message }), 0) => Ended::Failed { exit_code: 1, message },
            (Some(Event::Failed { message }), exit_code) => Ended::Failed { exit_code, message },
            (_, exit_code) => Ended::Failed { exit_code, message: silent(status, &complaints) },
        })
    }
}

fn silent(status: ExecStatus, complaints: &str) -> String {
    let how = match status {
        ExecStatus::Exited(code) => format!("ended with code {code}"),
        ExecStatus::Signaled(signal) => format!("was killed by signal {signal}"),
        ExecStatus::TimedOut => "was killed at its time limit".into(),
    };
    match complaints {
        "" => format!("the load generator {how} without a result"),
        words => format!("the load generator {how} without a result; its last words: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(completed: u64) -> String {
        let phase = "measure";
        serde_json::json!({
            "event": "progress", "phase": phase, "elapsed_ns": 1, "completed": completed, "failed": 0
        })
        .to_string()
    }

    #[test]
    fn events_are_found_across_pieces_and_among_noise() {
        let text = format!("{}\nnoise of a target\n{}\n", progress(3), progress(9));
        for size in 1..text.len() {
            let (mut said, mut seen) = (Said::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                said.take(piece, &mut |progress| seen.push(progress.completed));
            }
            assert_eq!(seen, [3, 9]);
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut said = Said::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            said.take(&piece, &mut |_| panic!("it is no event"));
        }
        assert!(said.line.len() <= LINE_LIMIT_BYTES);
        said.take(format!("\n{}\n", progress(1)).as_bytes(), &mut |_| {});
        assert!(said.line.is_empty());
    }

    #[test]
    fn only_the_end_of_complaints_is_kept() {
        let mut said = Said::default();
        for number in 0..10_000 {
            said.complain(format!("complaint {number}\n").as_bytes());
        }
        assert!(said.complaints.len() <= TAIL_BYTES);
        assert!(said.complaints.ends_with(b"complaint 9999\n"));
        assert!(silent(ExecStatus::Signaled(9), "why").contains("signal 9"));
    }
}
