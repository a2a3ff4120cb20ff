//! One machine that is followed.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{GuestLink, MachineProbe, MetricKind};
use virtmark_timeseries::{Kind, Series};

use crate::asker::{Asker, Question, Told};
use crate::book::{Book, Place};
use crate::recorder::{Attachment, MachineId, Message};
use crate::{MachineSummary, guest};

/// How long a VMM may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// One machine that is followed.
pub(crate) struct Followed {
    pub(crate) id: MachineId,
    name: String,
    book: Book,
    probe: Option<Arc<dyn MachineProbe>>,
    askers: Vec<Option<Asker>>,
    since: Instant,
    values: u64,
    skipped_questions: u64,
    /// Who waits for its end, and until when.
    pub(crate) leaving: Option<(Sender<MachineSummary>, Instant)>,
}

/// Values on their way into the store.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Those whose series are registered.
    pub(crate) samples: Vec<(Series, f64)>,
    /// Those whose series are not, each with its machine and its number there.
    pub(crate) wanted: Vec<(MachineId, usize, Kind, f64)>,
}

impl Gathered {
    fn add(&mut self, machine: MachineId, place: Place, kind: MetricKind, value: f64) {
        let kind = match kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
        };
        match place {
            Place::Refused => {}
            Place::Taken(series) => self.samples.push((series, value)),
            Place::Wanted(number) => self.wanted.push((machine, number, kind, value)),
        }
    }
}

impl Followed {
    /// A machine, and its asker when there is something to ask its VMM.
    pub(crate) fn new(
        id: MachineId,
        machine: Attachment,
        answers: &Sender<Message>,
    ) -> std::io::Result<Self> {
        let Attachment { name, labels, probe, guest } = machine;
        let mut followed = Self {
            id,
            name,
            book: Book::new(labels),
            probe,
            askers: Vec::new(),
            since: Instant::now(),
            values: 0,
            skipped_questions: 0,
            leaving: None,
        };
        if let Some(probe) = followed.probe.clone().filter(|probe| probe.has_questions()) {
            followed.start_asker(Box::new(move |sink| probe.ask(PATIENCE, sink)), answers)?;
        }
        if let Some(guest) = guest {
            followed.add_guest(guest, answers)?;
        }
        Ok(followed)
    }

    /// Asks this guest too.
    pub(crate) fn add_guest(
        &mut self,
        guest: Arc<dyn GuestLink>,
        answers: &Sender<Message>,
    ) -> std::io::Result<()> {
        self.start_asker(Box::new(move |sink| guest::ask(&*guest, sink)), answers)
    }

    fn start_asker(&mut self, question: Question, answers: &Sender<Message>) -> std::io::Result<()> {
        let asker = Asker::start(self.id, self.askers.len(), question, answers.clone())?;
        self.askers.push(Some(asker));
        Ok(())
    }

    /// Takes what can be seen without asking.
    pub(crate) fn observe(&mut self, gathered: &mut Gathered) {
        let Some(probe) = self.probe.clone() else { return };
        let before = gathered.samples.len() + gathered.wanted.len();
        // One that has ended tells nothing, or its last words; there is a gap from here on.
        let _ = probe.observe(&mut |name, labels, kind, value| {
            let place = self.book.place(name, labels.iter().copied());
            gathered.add(self.id, place, kind, value);
        });
        self.values += (gathered.samples.len() + gathered.wanted.len() - before) as u64;
    }

    /// Takes an answer.
    pub(crate) fn take(&mut self, asker: usize, told: &[Told], is_last: bool, gathered: &mut Gathered) {
        for Told { name, labels, kind, value } in told {
            let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let place = self.book.place(name, labels);
            gathered.add(self.id, place, *kind, *value);
        }
        self.values += told.len() as u64;
        if let Some(slot) = self.askers.get_mut(asker) {
            if is_last {
                *slot = None;
            } else if let Some(asker) = slot {
                asker.is_busy = false;
            }
        }
    }

    /// Asks everybody who has answered the last question; gives how many have not.
    pub(crate) fn ask(&mut self) -> u64 {
        let mut skipped = 0;
        for asker in self.askers.iter_mut().flatten() {
            skipped += u64::from(!asker.ask());
        }
        self.skipped_questions += skipped;
        skipped
    }

    /// Asks for the last time those who are free to answer, and waits no longer for the others.
    pub(crate) fn ask_last(&mut self) {
        for slot in &mut self.askers {
            if slot.as_mut().is_some_and(|asker| !asker.ask()) {
                *slot = None;
            }
        }
    }

    /// Whether an answer is due.
    pub(crate) fn is_asking(&self) -> bool {
        self.askers.iter().flatten().any(|asker| asker.is_busy)
    }

    pub(crate) fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn summary(&self) -> MachineSummary {
        MachineSummary {
            name: self.name.clone(),
            followed: self.since.elapsed(),
            values: self.values,
            skipped_questions: self.skipped_questions,
        }
    }
}
