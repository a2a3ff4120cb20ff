//! A thread that waits for answers, so that nobody else has to.

use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::{io, thread};

use virtmark_hypervisor::{Error, MetricKind, Sink};

use crate::pace::thread_cpu_ns;
use crate::recorder::{MachineId, Message};

/// One value with its series, on its way to the recording thread.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) kind: MetricKind,
    pub(crate) value: f64,
}

/// What came of one question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) machine: MachineId,
    /// Which of the machine's askers it is from.
    pub(crate) asker: usize,
    pub(crate) told: Vec<Told>,
    /// CPU time that asking took.
    pub(crate) cpu_ns: u64,
    /// Whether there will be no other answer.
    pub(crate) is_last: bool,
}

/// What is asked, each time anew.
pub(crate) type Question = Box<dyn FnMut(&mut Sink<'_>) -> Result<(), Error> + Send>;

/// The asking thread as the recording thread sees it. The thread ends with it, once its last question is answered.
#[derive(Debug)]
pub(crate) struct Asker {
    asks: SyncSender<()>,
    /// Whether an answer is due.
    pub(crate) is_busy: bool,
}

impl Asker {
    pub(crate) fn start(
        machine: MachineId,
        asker: usize,
        question: Question,
        answers: Sender<Message>,
    ) -> io::Result<Self> {
        let (asks, asked) = sync_channel(1);
        let work = move || run(machine, asker, question, &asked, &answers);
        thread::Builder::new().name("virtmark-asker".into()).spawn(work)?;
        Ok(Self { asks, is_busy: false })
    }

    /// Asks, unless the last answer is still due; says whether it did.
    pub(crate) fn ask(&mut self) -> bool {
        if self.is_busy {
            return false;
        }
        // Nobody is there any more when the last answer was the last of all.
        self.is_busy = self.asks.try_send(()).is_ok();
        true
    }
}

fn run(
    machine: MachineId,
    asker: usize,
    mut question: Question,
    asked: &Receiver<()>,
    answers: &Sender<Message>,
) {
    let mut cpu_before_ns = 0;
    while asked.recv().is_ok() {
        let mut told = Vec::new();
        let result = question(&mut |name, labels, kind, value| {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            told.push(Told { name: name.to_owned(), labels, kind, value });
        });
        // A link that is closed stays closed, and a machine that has ended has ended.
        let is_last = matches!(result, Err(Error::AgentLost { .. } | Error::WrongState { .. }));
        let cpu_ns = thread_cpu_ns();
        let answer = Answer { machine, asker, told, cpu_ns: cpu_ns - cpu_before_ns, is_last };
        cpu_before_ns = cpu_ns;
        if answers.send(Message::Answer(answer)).is_err() || is_last {
            return;
        }
    }
}
