//! How SSH gets into a machine of the image `bench`: its host key, told by its agent, and when its server is there.
//!
//! The agent's way to the host is the platform's own, so that a host key that comes by it needs no trust in a network.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Command, Error, ExecStatus, GuestLink, Result};

/// Where the guest's public host key is once it has made it.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

const KIND: &str = "ssh-ed25519";

/// How every server begins (RFC 4253, section 4.2).
const GREETING: &[u8] = b"SSH-2.0-";

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// A guest's public host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// The key, Ed25519, as base64.
    pub public: String,
}

impl HostKey {
    /// The line of a known_hosts file (sshd(8)) that says that whoever has this key is at this address.
    pub fn known_hosts_line(&self, address: SocketAddr) -> String {
        let host = match address.port() {
            22 => address.ip().to_string(),
            port => format!("[{}]:{port}", address.ip()),
        };
        format!("{host} {KIND} {}\n", self.public)
    }
}

/// The host key of a guest of the image `bench`, which it makes when it boots for the first time.
pub fn host_key(guest: &dyn GuestLink, deadline: Instant) -> Result<HostKey> {
    let left = deadline.saturating_duration_since(Instant::now());
    // The guest waits by itself: a question at a time would cost it more.
    let mut command = Command::shell(format!("until [ -s {HOST_KEY} ]; do sleep 0.05; done; cat {HOST_KEY}"));
    command.timeout = Some(left);
    let output = guest.exec(&command)?;
    let failed =
        |kind, reason: String| Error::io("read the SSH host key of a guest")(io::Error::new(kind, reason));
    if output.status == ExecStatus::TimedOut {
        let reason = format!("it made none within {left:.1?}; is it the image bench, with a key to let in?");
        return Err(failed(io::ErrorKind::TimedOut, reason));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.strip_prefix(KIND).and_then(|rest| rest.split_ascii_whitespace().next()) {
        Some(key) => Ok(HostKey { public: key.to_owned() }),
        None => Err(failed(io::ErrorKind::InvalidData, format!("{HOST_KEY} has {:?}", text.trim()))),
    }
}

/// Waits until an SSH server greets at this address. A connection that is made says little: a forwarded port takes
/// connections as soon as the machine is there.
pub fn wait(address: SocketAddr, deadline: Instant) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match greeted(address, left.max(EVERY)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() + EVERY >= deadline {
            return Err(Error::io(format!("wait for the SSH server at {address}"))(error));
        }
        thread::sleep(EVERY);
    }
}

fn greeted(address: SocketAddr, timeout: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting)?;
    match greeting == *GREETING {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "something else than SSH answers there")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_other_than_the_usual_is_part_of_the_name() {
        let key = HostKey { public: "AAAA".into() };
        let line = |address: &str| key.known_hosts_line(address.parse().unwrap());
        assert_eq!(line("10.0.0.1:22"), "10.0.0.1 ssh-ed25519 AAAA\n");
        assert_eq!(line("127.0.0.1:40001"), "[127.0.0.1]:40001 ssh-ed25519 AAAA\n");
    }

    #[test]
    fn a_server_is_there_when_it_greets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            // A forwarded port whose guest is not ready yet takes a connection and drops it.
            drop(listener.accept().unwrap());
            listener.accept().unwrap().0.write_all(b"SSH-2.0-OpenSSH\r\n").unwrap();
            listener
        });
        wait(address, Instant::now() + Duration::from_secs(10)).unwrap();
        drop(server.join().unwrap());
        let error = wait(address, Instant::now() + Duration::from_millis(60)).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
