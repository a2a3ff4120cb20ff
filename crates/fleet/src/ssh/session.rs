//! A machine that was logged in to: scripts, and a file on its way there.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::handler::Handler;
use super::{Stopped, lost, stopped, within};
use crate::script;
use crate::transport::{End, Kept, Output, Session, Stream, plain, upload_late, upload_stopped};
use crate::{Failure, FailureKind, Limit, Source};

/// How long a killed script may take to be gone, and a script that has exited to close its output: something that it
/// left behind may hold that.
const LINGER: Duration = Duration::from_secs(2);
/// A piece of a file.
const PIECE_BYTES: usize = 256 << 10;
/// The number of the stream for errors (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// A machine over SSH.
pub(super) struct SshSession {
    runtime: Arc<Runtime>,
    handle: Handle<Handler>,
}

impl SshSession {
    pub(super) fn new(runtime: Arc<Runtime>, handle: Handle<Handler>) -> Self {
        Self { runtime, handle }
    }

    async fn start(&self, script: &str) -> Result<Channel<Msg>, Failure> {
        let channel = self.handle.channel_open_session().await;
        let mut channel = channel.map_err(|error| lost("starting a command", &error))?;
        let asked = channel.exec(true, script::command(script)).await;
        asked.map_err(|error| lost("starting a command", &error))?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::Failure) => {
                    let message = "the machine refused to run a command; is it more than an SFTP server?";
                    return Err(Failure::new(FailureKind::Other, message));
                }
                Some(_) => {}
                None => return Err(lost("starting a command", &russh::Error::HUP)),
            }
        }
    }
}

impl Session for SshSession {
    fn put(&mut self, source: &Source, path: &str, limit: &Limit) -> Result<(), Failure> {
        let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
        let script = script::receive(source, if directory.is_empty() { "/" } else { directory }, path);
        let sending = async {
            let (reader, writer) = self.start(&script).await?.split();
            send(source, reader, writer).await
        };
        let sent = self.runtime.block_on(within(limit, sending)).map_err(|stopped| match stopped {
            Stopped::Interrupted => upload_stopped(),
            Stopped::TimedOut => upload_late(),
        })?;
        let (end, kept) = sent?;
        let words = kept.last_words().unwrap_or_else(|| format!("it ended with {end:?}"));
        if end != End::Exited(0) {
            return Err(crate::far::explain(FailureKind::Other, "write the payload on the machine", &words));
        }
        crate::far::arrived(source, &script::arrived(source, &kept.stdout))
    }

    fn exec(&mut self, script: &str, limit: &Limit, output: &mut dyn Output) -> Result<End, Failure> {
        let script = script::leased(script);
        let starting = within(limit, self.start(&script));
        let started = match self.runtime.block_on(starting) {
            Ok(channel) => channel?,
            Err(Stopped::Interrupted) => return Err(interrupted()),
            Err(Stopped::TimedOut) => return Ok(End::TimedOut),
        };
        self.runtime.block_on(follow(started, limit, output))
    }
}

impl Drop for SshSession {
    fn drop(&mut self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        // A machine that is gone hears nothing of it.
        let _ = self.runtime.block_on(async { timeout(LINGER, goodbye).await });
    }
}

fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, "stopped before its end")
}

/// Sends the file, and waits for what the machine says of it. A machine that cannot take it says so before the end.
async fn send(
    source: &Source,
    mut reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
) -> Result<(End, Kept), Failure> {
    let mut following = Following::default();
    let mut kept = Kept::default();
    let mut feeding = std::pin::pin!(feed(source, &writer));
    let mut fed = false;
    loop {
        tokio::select! {
            message = reader.wait() => match message {
                Some(message) => {
                    if following.take(message, &mut kept)? {
                        break;
                    }
                }
                None => break,
            },
            result = &mut feeding, if !fed => {
                fed = true;
                if let Err(failure) = result && failure.kind == FailureKind::LocalIo {
                    return Err(failure);
                }
            }
        }
    }
    let end = following.end.ok_or_else(|| lost("uploading the payload", &russh::Error::HUP))?;
    Ok((end, kept))
}

async fn feed(source: &Source, writer: &ChannelWriteHalf<Msg>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        let message = format!("cannot read {}: {error}", source.path.display());
        Failure::new(FailureKind::LocalIo, message)
    };
    let mut file = File::open(&source.path).map_err(unreadable)?;
    let mut far = writer.make_writer();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let broken = |_| lost("uploading the payload", &russh::Error::HUP);
        far.write_all(&piece[..count]).await.map_err(broken)?;
    }
    writer.eof().await.map_err(|error| lost("uploading the payload", &error))
}

/// What is known of a script so far.
#[derive(Default)]
struct Following {
    end: Option<End>,
    closed_output: bool,
}

impl Following {
    /// Takes a message; says whether there is nothing more to come.
    fn take(&mut self, message: ChannelMsg, output: &mut dyn Output) -> Result<bool, Failure> {
        let mut hand =
            |stream, bytes: &[u8]| output.take(stream, bytes).map_err(|error| crate::far::local(&error));
        match message {
            ChannelMsg::Close => return Ok(true),
            ChannelMsg::Data { data } => hand(Stream::Stdout, &data)?,
            ChannelMsg::Eof => self.closed_output = true,
            ChannelMsg::ExitSignal { signal_name, .. } => {
                let name = format!("{signal_name:?}");
                self.end = Some(End::Signaled(plain(&name)));
            }
            ChannelMsg::ExitStatus { exit_status } => {
                self.end = Some(End::Exited(i32::try_from(exit_status).unwrap_or(i32::MAX)));
            }
            ChannelMsg::ExtendedData { data, ext: STDERR } => hand(Stream::Stderr, &data)?,
            _ => {}
        }
        Ok(self.closed_output && self.end.is_some())
    }
}

/// Hands the output on until the script has ended, or ends it.
async fn follow(channel: Channel<Msg>, limit: &Limit, output: &mut dyn Output) -> Result<End, Failure> {
    let (mut reader, writer) = channel.split();
    let mut following = Following::default();
    let mut stop = std::pin::pin!(stopped(limit));
    let why = loop {
        let lingering = following.end.is_some();
        tokio::select! {
            // First, or a script that prints without end would never be stopped.
            biased;
            // One that has ended keeps its status; what others still print is not waited for beyond that.
            why = &mut stop => break (!lingering).then_some(why),
            message = reader.wait() => match message {
                Some(message) => {
                    if following.take(message, output)? {
                        break None;
                    }
                }
                None => break None,
            },
            () = tokio::time::sleep(LINGER), if lingering => break None,
        }
    };
    let Some(why) = why else {
        // Whatever still holds the output loses it.
        let _ = writer.close().await;
        return following.end.ok_or_else(|| lost("a command ran", &russh::Error::HUP));
    };
    // The end of the input is the end of the lease.
    let _ = writer.eof().await;
    let draining = async {
        while let Some(message) = reader.wait().await {
            if following.take(message, output)? {
                break;
            }
        }
        Ok(())
    };
    let drained = timeout(LINGER, draining).await;
    let _ = writer.close().await;
    match (why, drained) {
        (_, Ok(Err(failure))) => Err(failure),
        (Stopped::Interrupted, _) => Err(interrupted()),
        (Stopped::TimedOut, _) => Ok(End::TimedOut),
    }
}
