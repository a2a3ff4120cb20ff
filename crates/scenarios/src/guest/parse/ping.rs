//! The lines that ping prints, of iputils and busybox.

use super::{ParseError, Reader};

const READER: Reader = Reader("ping");

/// What the packets took, and how many came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// Packets that were sent.
    pub sent: f64,
    /// Packets that were answered.
    pub received: f64,
    /// The time of each answer, in the order in which they came; as many digits as ping prints (microseconds, or fewer).
    pub round_trips_ns: Vec<f64>,
}

impl Ping {
    /// Of the packets that were sent, from 0 to 1.
    pub fn lost_ratio(&self) -> f64 {
        1.0 - self.received / self.sent
    }
}

/// Reads the output of `ping -c N` without `-q`.
///
/// # Errors
/// When there is no line of packets, or more came back than were sent.
pub fn packets(text: &str) -> Result<Ping, ParseError> {
    let line = text
        .lines()
        .find(|line| line.contains("packets transmitted"))
        .ok_or_else(|| READER.unreadable("there is no line of packets transmitted"))?;
    let count = |word: &str| {
        let part = line.split(',').find(|part| part.contains(word));
        let number = part.and_then(|part| part.split_whitespace().next()).unwrap_or_default();
        READER.number(number, word)
    };
    let (sent, received) = (count("transmitted")?, count("received")?);
    if sent <= 0.0 || received > sent {
        return Err(READER.unreadable(format!("{received} of {sent} packets were answered")));
    }
    let mut round_trips_ns = Vec::new();
    for line in text.lines().filter(|line| line.contains(" bytes from ")) {
        let Some((_, time)) = line.split_once("time=") else { continue };
        let (number, unit) = time.split_once(' ').unwrap_or((time, ""));
        if unit.trim_end().split(' ').next() != Some("ms") {
            return Err(READER.unreadable("a time is not in ms"));
        }
        round_trips_ns.push(READER.number(number, "a time")? * 1e6);
    }
    Ok(Ping { sent, received, round_trips_ns })
}
