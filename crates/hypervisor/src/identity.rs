//! What makes a restored guest its own.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{Error, Result};

/// What a guest is given that goes on from a state which others go on from too: without it, it has their wall clock,
/// their random numbers and their name.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Hostname, and the content of `/etc/hostname`: 1 to 64 letters, digits, hyphens and dots.
    pub hostname: String,
    /// Content of `/etc/machine-id` (machine-id(5)): written as 32 hexadecimal digits.
    pub machine_id: [u8; 16],
    /// What is mixed into the kernel's random pool, and counted there as random.
    pub entropy: [u8; 64],
    /// Wall clock, since 1970-01-01 UTC.
    pub realtime_ns: u64,
}

impl Identity {
    /// An identity that nobody has: random, with the host's wall clock at this moment. To be made directly before it is
    /// given, since the clock goes on.
    pub fn fresh(hostname: impl Into<String>) -> Result<Self> {
        let (mut machine_id, mut entropy) = ([0; 16], [0; 64]);
        fill(&mut machine_id)?;
        fill(&mut entropy)?;
        // Version 4 of RFC 9562, as machine-id(5) asks for.
        machine_id[6] = machine_id[6] & 0x0f | 0x40;
        machine_id[8] = machine_id[8] & 0x3f | 0x80;
        Ok(Self { hostname: hostname.into(), machine_id, entropy, realtime_ns: realtime_ns()? })
    }
}

/// The host's wall clock, since 1970-01-01 UTC.
pub(crate) fn realtime_ns() -> Result<u64> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| {
        Error::io("give a guest the time: the clock of this host is before 1970")(io::Error::other(error))
    })?;
    // 2^64 ns are 584 years.
    Ok(since_1970.as_nanos() as u64)
}

/// What a guest's random numbers are made of is told to nobody.
impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("hostname", &self.hostname)
            .field("machine_id", &self.machine_id)
            .field("realtime_ns", &self.realtime_ns)
            .finish_non_exhaustive()
    }
}

/// Fills a buffer with random bytes. Requests of up to 256 bytes are never cut short (getrandom(2)).
fn fill(buffer: &mut [u8]) -> Result<()> {
    let failed = |error: io::Error| Error::io("draw random bytes for a guest's identity")(error);
    match rustix::io::retry_on_intr(|| getrandom(&mut *buffer, GetRandomFlags::empty())) {
        Ok(filled) if filled == buffer.len() => Ok(()),
        Ok(_) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
        Err(Errno::NOSYS) => {
            Err(failed(io::Error::other("this kernel has no getrandom, it is older than 3.17")))
        }
        Err(error) => Err(failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_identities_are_alike_and_the_clock_is_the_hosts() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let (first, second) = (Identity::fresh("a").unwrap(), Identity::fresh("a").unwrap());
        assert_ne!(first.machine_id, second.machine_id);
        assert_ne!(first.entropy, second.entropy);
        assert!(before <= first.realtime_ns && first.realtime_ns <= second.realtime_ns);
        assert_eq!((first.machine_id[6] >> 4, first.machine_id[8] >> 6), (4, 2));
        assert!(!format!("{first:?}").contains("entropy"));
    }
}
