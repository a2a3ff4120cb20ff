//! A guest's own clock, random numbers and names, in place of those it was restored with.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::ioctl::{self, NoArg, Opcode, Setter, opcode};
use virtmark_protocol::ErrorKind;

use crate::clock;
use crate::files::Failure;

/// Longest hostname of Linux.
const MAX_HOSTNAME_BYTES: usize = 64;

/// Most that is mixed into the random pool at once.
const MAX_ENTROPY_BYTES: usize = 256;

/// Adds to the random pool and counts it (random(4)); its argument is declared as two integers.
const RNDADDENTROPY: Opcode = opcode::write::<[libc::c_int; 2]>(b'R', 0x03);

/// Draws a new key from the random pool at once, instead of a minute later.
const RNDRESEEDCRNG: Opcode = opcode::none(b'R', 0x07);

/// Makes this guest its own. The clock comes first, since it goes on meanwhile.
pub(crate) fn assume(
    hostname: &str,
    machine_id: &[u8; 16],
    entropy: &[u8],
    realtime_ns: u64,
) -> Result<(), Failure> {
    check(hostname, entropy)?;
    clock::set_realtime(realtime_ns).map_err(Failure::of("set the wall clock".into()))?;
    reseed(entropy).map_err(Failure::of("reseed the kernel's random numbers".into()))?;
    rustix::system::sethostname(hostname.as_bytes())
        .map_err(|error| Failure::of(format!("set the hostname {hostname}"))(error.into()))?;
    write_where_possible("/etc/hostname", &format!("{hostname}\n"))?;
    write_where_possible("/etc/machine-id", &format!("{}\n", hexadecimal(machine_id)))
}

fn check(hostname: &str, entropy: &[u8]) -> Result<(), Failure> {
    let refused = |message: String| Err(Failure { kind: ErrorKind::BadRequest, message });
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if hostname.is_empty() || hostname.len() > MAX_HOSTNAME_BYTES || !hostname.bytes().all(fits) {
        return refused(format!(
            "take the hostname {hostname:?}: it is not 1 to {MAX_HOSTNAME_BYTES} letters, digits, hyphens and dots"
        ));
    }
    if entropy.is_empty() || entropy.len() > MAX_ENTROPY_BYTES {
        return refused(format!("take {} random bytes: 1 to {MAX_ENTROPY_BYTES} are taken", entropy.len()));
    }
    Ok(())
}

/// `struct rand_pool_info` of `linux/random.h`, with room for what is added.
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    bytes: libc::c_int,
    buffer: [u8; MAX_ENTROPY_BYTES],
}

/// Mixes `entropy` into the random pool and makes every later random number depend on it.
#[allow(unsafe_code)]
fn reseed(entropy: &[u8]) -> io::Result<()> {
    let device = File::open("/dev/urandom")?;
    let length = entropy.len().min(MAX_ENTROPY_BYTES);
    let mut buffer = [0; MAX_ENTROPY_BYTES];
    buffer[..length].copy_from_slice(&entropy[..length]);
    // At most MAX_ENTROPY_BYTES: both fit.
    let info = PoolInfo { entropy_bits: (length * 8) as libc::c_int, bytes: length as libc::c_int, buffer };
    // SAFETY: the request takes a `rand_pool_info` whose buffer has the length that its second field says.
    unsafe { ioctl::ioctl(&device, Setter::<RNDADDENTROPY, PoolInfo>::new(info))? };
    // SAFETY: the request takes no argument.
    unsafe { ioctl::ioctl(&device, NoArg::<RNDRESEEDCRNG>::new())? };
    Ok(())
}

/// Writes a file of the guest's own; a root that is mounted read-only keeps what it has. In one piece and in place: under
/// emulation every path through the kernel that is taken for the first time costs, and nobody reads it yet.
fn write_where_possible(path: &str, content: &str) -> Result<(), Failure> {
    let written = match fs::write(path, content) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory).and_then(|()| fs::write(path, content))
        }
        written => written,
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        written => written.map_err(Failure::of(format!("write {path}"))),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_have_the_numbers_of_the_kernel() {
        assert_eq!(RNDADDENTROPY, 0x4008_5203);
        assert_eq!(RNDRESEEDCRNG, 0x5207);
    }

    #[test]
    fn names_that_would_be_more_than_a_name_are_refused() {
        assert!(check("sandbox-1.local", &[1]).is_ok());
        for hostname in ["", "a b", "a\nb", "../etc", &"a".repeat(65)] {
            assert!(check(hostname, &[1]).is_err(), "{hostname:?}");
        }
        assert!(check("a", &[]).is_err() && check("a", &[0; 257]).is_err());
    }

    #[test]
    fn a_machine_id_is_32_digits() {
        assert_eq!(hexadecimal(&[0, 15, 255]), "000fff");
    }
}
