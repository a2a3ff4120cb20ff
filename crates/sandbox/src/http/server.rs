//! Connections: taken up to a limit, given up when silent, and brought to an end.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::blocking::Pool;
use super::dispatch::{Shared, dispatch};
use super::stalling::Stalling;
use super::{HttpOptions, ServeError};
use crate::Service;

/// Threads that move bytes; the work itself has threads of its own.
const MOVING_THREADS: usize = 2;
/// Bytes of a request's head, and of the buffer that it is read into.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
const HEADERS_LIMIT: usize = 100;
/// Clients over the limit of connections that are told so at a time; the rest is dropped without a word.
const TURNED_AWAY: usize = 64;
/// How long one of these may take.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);
/// How long to wait when the host has no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the answers of requests that were cut may take to be written.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 138\r\n\r\n\
    {\"error\":{\"code\":\"overloaded\",\"message\":\"every connection of the service is taken\",\
    \"remedy\":\"try again after the seconds in Retry-After\"}}";

/// A service that is offered over HTTP. Dropping it cuts all connections at once.
pub struct Server {
    address: SocketAddr,
    service: Arc<Service>,
    /// Present until the end.
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    /// Ends when the last connection has.
    accepting: JoinHandle<()>,
}

/// Offers `service` on `listener`, on threads of its own, until [`Server::shutdown`].
///
/// # Errors
/// [`ServeError::TokenMissing`] as in [`HttpOptions::check`]; [`ServeError::Io`] when the socket or a thread is not to
/// be had.
pub fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    options: HttpOptions,
) -> Result<Server, ServeError> {
    let failed = |action| move |source| ServeError::Io { action, source };
    let address = listener.local_addr().map_err(failed("read the address of the socket"))?;
    options.check(address)?;
    listener.set_nonblocking(true).map_err(failed("prepare the socket"))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(MOVING_THREADS)
        .max_blocking_threads(Pool::threads(options.requests))
        .thread_name("virtmark-http")
        .enable_io()
        .enable_time()
        .build()
        .map_err(failed("start threads"))?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed("watch the socket"))?
    };
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::new(Shared::new(service.clone(), options, runtime.handle().clone()));
    let accepting = runtime.spawn(accept(listener, shared, stopped));
    Ok(Server { address, service, running: Some(Running { runtime, stop, accepting }) })
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, gives the requests that run until `deadline` has passed, then ends what is left of
    /// them with their commands, and has the service destroy its machines. Snapshots stay.
    pub fn shutdown(mut self, deadline: Duration) {
        let Some(Running { runtime, stop, mut accepting }) = self.running.take() else { return };
        let until = Instant::now() + deadline;
        // Nobody to tell means that it has ended by itself.
        let _ = stop.send(());
        let ended = runtime.block_on(async { timeout(deadline, &mut accepting).await.is_ok() });
        self.service.drain(until.saturating_duration_since(Instant::now()));
        if !ended {
            // What the service has cut is answered by errors, which their clients may want to read.
            let _ = runtime.block_on(async { timeout(LAST_WORDS_TIME, accepting).await });
        }
        runtime.shutdown_timeout(LAST_WORDS_TIME);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_background();
        }
    }
}

/// Takes connections until told to stop, and waits for the last of them.
async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let connections = Arc::new(Semaphore::new(shared.options.connections));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let protocol = protocol(&shared.options);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = poll_fn(|context| match Pin::new(&mut stopped).poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => listener.poll_accept(context).map(Some),
        });
        let stream = match accepted.await {
            None => break,
            Some(Ok((stream, _))) => stream,
            // Out of descriptors, or a client that was gone at once: the next may do better.
            Some(Err(_)) => {
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = connections.clone().try_acquire_owned() else {
            shared.metrics.turned_away();
            if let Ok(place) = turned_away.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    let _ = timeout(TURN_AWAY_TIME, turn_away(stream)).await;
                    drop(place);
                });
            }
            continue;
        };
        let open = shared.metrics.connection();
        // Without it answers wait for acknowledgements of earlier ones; a socket that refuses is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let stream = Stalling::new(stream, shared.options.stall_timeout);
        let shared = shared.clone();
        let answers = service_fn(move |request| dispatch(shared.clone(), request));
        let connection = graceful.watch(protocol.serve_connection(stream, answers));
        tokio::spawn(async move {
            // A client that is gone or talks rubbish is its own affair.
            let _ = connection.await;
            drop((place, open));
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// How connections are held.
fn protocol(options: &HttpOptions) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_header_size(HEAD_LIMIT_BYTES)
        .max_buf_size(2 * HEAD_LIMIT_BYTES)
        .max_headers(HEADERS_LIMIT)
        .keep_alive(true);
    protocol
}

/// Tells a client that there is no place for it. Its request is read, so that the connection is not reset before the
/// client has read the answer.
async fn turn_away(stream: TcpStream) -> io::Result<()> {
    stream.writable().await?;
    // A new connection has room for far more than this.
    stream.try_write(FULL)?;
    let mut stream = stream;
    poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
    let mut dropped = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut dropped) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_without_a_place_is_as_long_as_it_says_and_is_json() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "overloaded");
    }
}
