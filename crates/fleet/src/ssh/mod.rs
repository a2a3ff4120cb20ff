//! Machines over SSH.
//!
//! The one place of this crate with a runtime: connections are moved by two threads of it, and every call of a
//! [`Session`] waits for them on the caller's own thread. Nothing of it is seen outside.

mod config;
mod connect;
mod handler;
mod include;
mod known;
mod login;
mod session;
mod way;

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::{AlgorithmKind, Disconnect, Preferred};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

pub use config::ClientConfig;
use connect::connect;
use handler::Handler;
use session::SshSession;
pub use way::SshOptions;
use way::Way;

use crate::map::Machine;
use crate::transport::{Session, Transport, plain};
use crate::{Failure, FailureKind, Limit};

/// Threads that move bytes, of all connections together.
const MOVING_THREADS: usize = 2;
/// How long one attempt to connect and log in may take.
const ATTEMPT_TIME: Duration = Duration::from_secs(15);
/// After such a silence the machine is asked whether it is there, as often as [`UNANSWERED`]: a machine that was killed
/// says nothing at its end.
const SILENCE: Duration = Duration::from_secs(10);
const UNANSWERED: usize = 3;
/// Messages of at most 32 KiB that are held between the connection and whoever takes the output. A full one makes the
/// machine wait.
const BUFFERED_MESSAGES: usize = 32;

/// The way to machines over SSH.
pub struct SshTransport {
    runtime: Arc<Runtime>,
    options: SshOptions,
}

impl SshTransport {
    /// One with threads of its own.
    pub fn new(options: SshOptions) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(MOVING_THREADS)
            .thread_name("virtmark-ssh")
            .enable_io()
            .enable_time()
            .build()?;
        Ok(Self { runtime: Arc::new(runtime), options })
    }
}

impl Transport for SshTransport {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn open(&self, machine: &Machine, answer: &Limit, limit: &Limit) -> Result<Box<dyn Session>, Failure> {
        let way = Arc::new(self.options.way(machine));
        let limit = limit.at_most(ATTEMPT_TIME);
        let late = |stopped| match stopped {
            Stopped::Interrupted => Failure::new(FailureKind::Interrupted, "stopped while connecting"),
            Stopped::TimedOut => {
                let message = format!("{} did not answer in time", place(&way));
                Failure::new(FailureKind::Unreachable, message)
            }
        };
        let opening = async {
            let stream = within(answer, connect(&way)).await.map_err(late)??;
            open(Arc::clone(&way), stream).await
        };
        let handle = self.runtime.block_on(within(&limit, opening)).map_err(late)??;
        Ok(Box::new(SshSession::new(Arc::clone(&self.runtime), handle)))
    }
}

/// Logs in.
async fn open(way: Arc<Way>, stream: TcpStream) -> Result<client::Handle<Handler>, Failure> {
    let on_file = known::on_file(&way)?;
    let preferred = Preferred { key: Cow::Owned(known::algorithms(&on_file)), ..Preferred::DEFAULT };
    let config = client::Config {
        preferred,
        keepalive_interval: Some(SILENCE),
        keepalive_max: UNANSWERED,
        channel_buffer_size: BUFFERED_MESSAGES,
        nodelay: true,
        ..client::Config::default()
    };
    let (handler, verdict) = Handler::new(Arc::clone(&way), on_file);
    let connected = client::connect_stream(Arc::new(config), stream, handler).await;
    let mut handle = connected.map_err(|error| {
        verdict.take().unwrap_or_else(|| match &error {
            russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. } => {
                let message = format!(
                    "{} has no Ed25519 or ECDSA host key, and its others cannot be checked here: `ssh-keygen -A` \
                     on the machine makes those that are missing",
                    place(&way)
                );
                Failure::new(FailureKind::HostKeyUnknown, message)
            }
            russh::Error::NoCommonAlgo { kind, .. } => {
                let message = format!("{} and virtmark have no {kind:?} algorithm in common", place(&way));
                Failure::new(FailureKind::Other, message)
            }
            _ => lost("connecting", &error),
        })
    })?;
    match login::login(&mut handle, &way, &verdict).await {
        Ok(()) => Ok(handle),
        Err(failure) => {
            // It is given up anyway.
            let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
            Err(failure)
        }
    }
}

fn place(way: &Way) -> String {
    if way.host.contains(':') {
        return format!("[{}]:{}", way.host, way.port);
    }
    format!("{}:{}", way.host, way.port)
}

/// A connection that broke.
fn lost(during: &str, error: &russh::Error) -> Failure {
    let why = match error {
        russh::Error::IO(error) => error.to_string(),
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError => {
            "the machine closed it".into()
        }
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => "the machine fell silent".into(),
        other => plain(&other.to_string()),
    };
    Failure::new(FailureKind::Lost, format!("lost the connection while {during}: {why}"))
}

/// Why something was not waited for to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Interrupted,
    TimedOut,
}

/// Ends with the limit: never, where there is none and nobody stops.
async fn stopped(limit: &Limit) -> Stopped {
    let heard = Arc::new(Notify::new());
    let _hearing = limit.cancel.on_cancel({
        let heard = Arc::clone(&heard);
        move || heard.notify_one()
    });
    match limit.deadline {
        None => {
            heard.notified().await;
            Stopped::Interrupted
        }
        Some(deadline) => tokio::select! {
            () = heard.notified() => Stopped::Interrupted,
            () = tokio::time::sleep_until(deadline.into()) => Stopped::TimedOut,
        },
    }
}

/// Waits for something until its limit.
async fn within<T>(limit: &Limit, what: impl Future<Output = T>) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        result = what => Ok(result),
        why = stopped(limit) => Err(why),
    }
}
