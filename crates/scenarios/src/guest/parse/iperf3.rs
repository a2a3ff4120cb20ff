//! The JSON that iperf3's client prints (`-J`), from 3.0 on.

use serde_json::Value;

use super::{ParseError, Reader, clip};

const READER: Reader = Reader("iperf3");

/// What a client measured over TCP, all streams together.
#[derive(Clone, Debug, PartialEq)]
pub struct Tcp {
    /// Bytes in a second that the receiver got.
    pub bytes_per_second: f64,
    /// Segments that were sent again; absent where the system does not tell.
    pub retransmits: Option<f64>,
}

/// What a client measured over UDP.
#[derive(Clone, Debug, PartialEq)]
pub struct Udp {
    /// Bytes in a second that arrived. Where only what was sent is told (before 3.9), it is that without the share of
    /// datagrams that were lost: all have one size.
    pub bytes_per_second: f64,
    /// Of the datagrams that were sent, from 0 to 1.
    pub lost_ratio: f64,
    /// How much the time on the way varies (RFC 1889), in nanoseconds.
    pub jitter_ns: f64,
}

/// Reads what a TCP client printed.
///
/// # Errors
/// When it is no JSON of iperf3's, or tells an error.
pub fn tcp(text: &str) -> Result<Tcp, ParseError> {
    let end = end(text)?;
    Ok(Tcp {
        bytes_per_second: rate(&end, "/sum_received/bits_per_second")?,
        retransmits: end
            .pointer("/sum_sent/retransmits")
            .and_then(Value::as_f64)
            .filter(|value| *value >= 0.0),
    })
}

/// Reads what a UDP client printed.
///
/// # Errors
/// When it is no JSON of iperf3's, or tells an error, or tells of more lost datagrams than there were.
pub fn udp(text: &str) -> Result<Udp, ParseError> {
    let end = end(text)?;
    let (packets, lost) = (figure(&end, "/sum/packets")?, figure(&end, "/sum/lost_packets")?);
    if packets <= 0.0 || lost > packets {
        return Err(READER.unreadable(format!("{lost} of {packets} datagrams were lost")));
    }
    let lost_ratio = lost / packets;
    let received = end.pointer("/sum_received/bits_per_second").is_some();
    let bytes_per_second = match received {
        true => rate(&end, "/sum_received/bits_per_second")?,
        false => rate(&end, "/sum/bits_per_second")? * (1.0 - lost_ratio),
    };
    Ok(Udp { bytes_per_second, lost_ratio, jitter_ns: figure(&end, "/sum/jitter_ms")? * 1e6 })
}

/// The part with the sums.
fn end(text: &str) -> Result<Value, ParseError> {
    let output: Value =
        serde_json::from_str(text).map_err(|error| READER.unreadable(format!("it is no JSON: {error}")))?;
    if let Some(message) = output.get("error").and_then(Value::as_str) {
        let message = message.strip_prefix("error - ").unwrap_or(message);
        return Err(ParseError::Failed { tool: "iperf3", message: clip(message) });
    }
    output.get("end").cloned().ok_or_else(|| READER.unreadable("it has no \"end\""))
}

fn rate(end: &Value, pointer: &str) -> Result<f64, ParseError> {
    Ok(figure(end, pointer)? / 8.0)
}

fn figure(end: &Value, pointer: &str) -> Result<f64, ParseError> {
    let value = end.pointer(pointer).and_then(Value::as_f64);
    value
        .filter(|value| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| READER.unreadable(format!("end{pointer} is no figure")))
}
