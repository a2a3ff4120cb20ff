//! The recorder as its users see it: machines come and go, and a thread of its own does the rest.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use virtmark_hypervisor::{GuestLink, MachineProbe};
use virtmark_timeseries::{SeriesKey, Writer};

use crate::asker::Answer;
use crate::follower::Follower;
use crate::keeper::Keeper;
use crate::{Error, MachineSummary, RecorderOptions, Summary, default_options};

/// Who hears what goes wrong with a machine or a series, while everything else goes on.
pub type Notice = Box<dyn FnMut(&str) + Send>;

/// Follows machines. Dropping it ends the recording as [`finish`](Self::finish) does.
pub struct Recorder {
    messages: Sender<Message>,
    thread: Option<JoinHandle<Result<Summary, virtmark_timeseries::Error>>>,
    labels: Vec<(String, String)>,
    next_id: AtomicU64,
    /// Machines that were announced through [`Observer`](virtmark_hypervisor::Observer), by name.
    pub(crate) observed: Mutex<HashMap<String, MachineId>>,
}

/// A machine that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(u64);

/// A machine to follow.
pub struct Attachment {
    /// The label `machine` of all its series.
    pub name: String,
    /// Labels beside that one.
    pub labels: Vec<(String, String)>,
    /// What can be seen of it from outside.
    pub probe: Option<Arc<dyn MachineProbe>>,
    /// The way into its guest, when it answers already.
    pub guest: Option<Arc<dyn GuestLink>>,
}

/// What the recording thread is told.
pub(crate) enum Message {
    Answer(Answer),
    Attach(MachineId, Attachment),
    Detach(MachineId, Sender<MachineSummary>),
    Guest(MachineId, Arc<dyn GuestLink>),
    Stop,
}

impl Recorder {
    /// Records into the store in `directory`. If there is none it is created with room for `machines` machines.
    ///
    /// # Errors
    /// The store cannot be written, or somebody else writes it; the options cannot be.
    pub fn open(
        directory: &Path,
        machines: u32,
        options: RecorderOptions,
        notice: Notice,
    ) -> Result<Self, Error> {
        options.check()?;
        let writer = match Writer::open(directory) {
            Err(virtmark_timeseries::Error::NotAStore { .. }) => {
                Writer::create(directory, &default_options(machines)?)?
            }
            result => result?,
        };
        Self::start(writer, options, notice)
    }

    /// Records into a store.
    ///
    /// # Errors
    /// The options cannot be, all lanes of the store have a recorder, or the host refuses a thread.
    pub fn start(writer: Writer, options: RecorderOptions, notice: Notice) -> Result<Self, Error> {
        options.check()?;
        let labels = options.labels.clone();
        check_labels("machines", &labels)?;
        let (messages, inbox) = channel();
        let keeper = Keeper::new(writer, notice)?;
        let follower = Follower::new(keeper, &options, messages.clone());
        let thread = thread::Builder::new()
            .name("virtmark-record".into())
            .spawn(move || follower.run(&inbox))
            .map_err(Error::Thread)?;
        Ok(Self {
            messages,
            thread: Some(thread),
            labels,
            next_id: AtomicU64::new(0),
            observed: Mutex::default(),
        })
    }

    /// Follows a machine from now on: its first sample is taken at once, the next at the next tick. Takes microseconds.
    ///
    /// # Errors
    /// A label cannot be; a value may have 10 kB.
    pub fn attach(&self, machine: Attachment) -> Result<MachineId, Error> {
        let id = MachineId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut labels = vec![("machine".to_owned(), machine.name.clone())];
        labels.extend(self.labels.iter().cloned());
        labels.extend(machine.labels);
        check_labels(&machine.name, &labels)?;
        self.send(Message::Attach(id, Attachment { labels, ..machine }))?;
        Ok(id)
    }

    /// Asks the guest of a machine from now on: it answers, or does again.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn guest_answers(&self, id: MachineId, guest: Arc<dyn GuestLink>) -> Result<(), Error> {
        self.send(Message::Guest(id, guest))
    }

    /// Takes a last sample of a machine, so that what it did since the last tick is kept, and lets go of it. Returns when
    /// the sample is in the store, and its guest was given a quarter of a second to say its part. To be called while the
    /// machine is still there. `None` for one that is not followed.
    pub fn detach(&self, id: MachineId) -> Option<MachineSummary> {
        let (reply, summary) = channel();
        self.send(Message::Detach(id, reply)).ok()?;
        summary.recv().ok()
    }

    /// Detaches what is still attached, writes everything to disk, and tells what recording took.
    ///
    /// # Errors
    /// The store could not be written to disk, or was deleted meanwhile.
    pub fn finish(mut self) -> Result<Summary, Error> {
        let ended = self.end().ok_or(Error::Stopped)?;
        Ok(ended.map_err(|_| Error::Stopped)??)
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        self.messages.send(message).map_err(|_| Error::Stopped)
    }

    fn end(&mut self) -> Option<thread::Result<Result<Summary, virtmark_timeseries::Error>>> {
        // It is gone already when it failed, which its result tells.
        let _ = self.messages.send(Message::Stop);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.end();
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Refuses labels that no series could have, before a machine is followed for nothing.
fn check_labels(machine: &str, labels: &[(String, String)]) -> Result<(), Error> {
    let key = SeriesKey::new("x");
    let checked = labels.iter().fold(key, |key, (label, value)| key?.with(&**label, &**value));
    match checked {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Label { machine: machine.chars().take(100).collect(), source }),
    }
}
