//! A connection to a machine: whichever of its addresses answers first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::place;
use super::way::Way;
use crate::{Failure, FailureKind};

/// How long an address is alone before the next one is tried beside it (RFC 8305, 5): one that packets never reach says
/// nothing for minutes.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection to a machine that has begun to speak on it.
pub(super) async fn connect(way: &Way) -> Result<TcpStream, Failure> {
    let found = lookup_host((way.host.as_str(), way.port)).await.map_err(|error| {
        let message =
            format!("cannot find the address of {}: {error}; correct the map, or the name service", way.host);
        Failure::new(FailureKind::NameNotFound, message)
    })?;
    first_to_speak(found).await.map_err(|error| {
        let why = error.map_or_else(|| "it has no address".into(), |error| error.to_string());
        let message = format!(
            "cannot connect to {}: {why}; is the machine up, and an SSH server on that port?",
            place(way)
        );
        Failure::new(FailureKind::Unreachable, message)
    })
}

/// The first of these that takes a connection and speaks; otherwise the last error that there was.
async fn first_to_speak(addresses: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, Option<io::Error>> {
    let mut addresses = addresses.peekable();
    // Those that are still under way end with it.
    let mut attempts = JoinSet::new();
    let mut last = None;
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(spoken_to(address));
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = Some(error),
                // A panic was told by its task.
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = sleep(HEAD_START), if addresses.peek().is_some() => {}
        }
    }
}

async fn spoken_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    // Servers greet first (RFC 4253, 4.2). What is wrong with it is found by who reads it.
    let _ = stream.readable().await;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn first_of(addresses: Vec<SocketAddr>) -> Result<SocketAddr, Option<io::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(first_to_speak(addresses.into_iter()))?;
        Ok(stream.peer_addr().unwrap())
    }

    #[test]
    fn an_address_that_says_nothing_costs_the_others_little() {
        // Its kernel takes connections, nobody else does.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let speaking = TcpListener::bind("127.0.0.1:0").unwrap();
        // TCPMUX, which nobody serves any more.
        let shut: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let [silent_at, speaking_at] = [&silent, &speaking].map(|listener| listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in speaking.incoming() {
                // Who was faster elsewhere may be gone.
                let _ = stream.unwrap().write_all(b"SSH-2.0-x\r\n");
            }
        });
        // For documentation: nobody answers there, or somebody says that there is no way.
        let nowhere = "192.0.2.1:22".parse().unwrap();
        assert_eq!(first_of(vec![nowhere, silent_at, shut, speaking_at]).unwrap(), speaking_at);
        assert_eq!(first_of(vec![speaking_at, silent_at]).unwrap(), speaking_at);
        let refused = first_of(vec![shut, shut]).unwrap_err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(Vec::new()).unwrap_err().is_none());
        drop(silent);
    }
}
