//! The recording thread.

use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use virtmark_timeseries::{Kind, Series, SeriesKey};

use crate::asker::Answer;
use crate::keeper::Keeper;
use crate::machine::{Followed, Gathered};
use crate::pace::{Clocks, Pace, Step, Tick, thread_cpu_ns};
use crate::recorder::{MachineId, Message};
use crate::{RecorderOptions, Summary};

/// How long those who are asked for the last time may take.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// How often what is recorded is made safe from a power cut.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Metrics of the recorder itself, in the order of [`Follower::own_values`].
const OWN: [(&str, Kind); 6] = [
    ("recorder_cpu_seconds_total", Kind::Counter),
    ("recorder_bytes", Kind::Gauge),
    ("recorder_machines", Kind::Gauge),
    ("recorder_samples_total", Kind::Counter),
    ("recorder_missed_ticks_total", Kind::Counter),
    ("recorder_skipped_questions_total", Kind::Counter),
];

/// Everything that the recording thread has.
pub(crate) struct Follower {
    keeper: Keeper,
    /// For those who ask.
    answers: Sender<Message>,
    machines: BTreeMap<MachineId, Followed>,
    own: Vec<Option<Series>>,
    pace: Pace,
    ask_interval_ns: u64,
    next_ask_ns: u64,
    checkpointed: Instant,
    /// CPU time of those who ask.
    asking_cpu_ns: u64,
    /// Kept for its memory.
    gathered: Gathered,
    summary: Summary,
}

impl Follower {
    pub(crate) fn new(keeper: Keeper, options: &RecorderOptions, answers: Sender<Message>) -> Self {
        // 584 years and more are as good as never.
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
        let pace = Pace::start(nanoseconds(options.interval), Clocks::now());
        let summary = Summary { store_bytes: keeper.bytes(), ..Summary::default() };
        Self {
            keeper,
            answers,
            machines: BTreeMap::new(),
            own: Vec::new(),
            pace,
            ask_interval_ns: nanoseconds(options.ask_interval).max(1),
            next_ask_ns: 0,
            checkpointed: Instant::now(),
            asking_cpu_ns: 0,
            gathered: Gathered::default(),
            summary,
        }
    }

    /// Follows machines until it is told to stop, and closes the store.
    pub(crate) fn run(mut self, inbox: &Receiver<Message>) -> Result<Summary, virtmark_timeseries::Error> {
        self.register_own();
        loop {
            match inbox.recv_timeout(self.patience()) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(tick) = self.pace.tick(Clocks::now()) {
                self.tick(tick);
            }
            self.let_go();
        }
        self.end(inbox)
    }

    /// Until something is due.
    fn patience(&self) -> Duration {
        let tick = Duration::from_nanos(self.pace.wait_ns(Clocks::now().monotonic_ns));
        let deadlines = self.machines.values().filter_map(|machine| Some(machine.leaving.as_ref()?.1));
        let waits = deadlines.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        waits.fold(tick, Duration::min)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Answer(answer) => self.take_answer(&answer),
            Message::Attach(id, machine) => {
                let (name, has_guest) = (machine.name.clone(), machine.guest.is_some());
                match Followed::new(id, machine, &self.answers) {
                    Ok(mut machine) => {
                        let mut gathered = mem::take(&mut self.gathered);
                        machine.observe(&mut gathered);
                        if has_guest {
                            // The next tick may be most of an interval away, and the machine gone by then.
                            machine.ask();
                        }
                        self.machines.insert(id, machine);
                        self.summary.machines += 1;
                        self.record_now(gathered);
                    }
                    Err(error) => {
                        self.keeper
                            .tell(&format!("cannot record {name}: cannot start a thread to ask it: {error}"));
                    }
                }
            }
            Message::Detach(id, reply) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.ask_last();
                    machine.leaving = Some((reply, Instant::now() + LAST_ANSWERS));
                    let mut gathered = mem::take(&mut self.gathered);
                    machine.observe(&mut gathered);
                    self.record_now(gathered);
                }
            }
            Message::Guest(id, guest) => {
                let Some(machine) = self.machines.get_mut(&id) else { return };
                // Asked from the next tick on: right now somebody else wants an answer, and may time it.
                if let Err(error) = machine.add_guest(guest, &self.answers) {
                    let name = machine.name().to_owned();
                    self.keeper
                        .tell(&format!("cannot record the guest of {name}: no thread to ask it: {error}"));
                }
            }
            Message::Stop => {}
        }
    }

    fn take_answer(&mut self, answer: &Answer) {
        self.asking_cpu_ns += answer.cpu_ns;
        // Of a machine that was let go of meanwhile nobody wants it.
        let Some(machine) = self.machines.get_mut(&answer.machine) else { return };
        let mut gathered = mem::take(&mut self.gathered);
        machine.take(answer.asker, &answer.told, answer.is_last, &mut gathered);
        self.record_now(gathered);
    }

    fn tick(&mut self, tick: Tick) {
        let Tick { time_ns, missed, step } = tick;
        self.summary.ticks += 1;
        self.summary.missed_ticks += missed;
        let after_step = match step {
            None => false,
            Some(Step::Forward { by_ns }) => {
                let by = seconds(by_ns);
                self.keeper.tell(&format!(
                    "the clock was set forward by {by}, or the host slept; recording goes on there"
                ));
                true
            }
            Some(Step::Back { by_ns }) => {
                let by = seconds(by_ns);
                self.keeper
                    .tell(&format!("the clock was set back by {by}; samples go on at the time it would be"));
                false
            }
        };
        let mut gathered = mem::take(&mut self.gathered);
        for machine in self.machines.values_mut() {
            machine.observe(&mut gathered);
        }
        for (place, value) in self.own.iter().zip(self.own_values()) {
            gathered.samples.extend(place.map(|place| (place, value)));
        }
        self.record_at(time_ns, gathered, after_step);
        self.keeper.consolidate();
        if time_ns >= self.next_ask_ns {
            self.next_ask_ns = (time_ns / self.ask_interval_ns + 1).saturating_mul(self.ask_interval_ns);
            let asked = self.machines.values_mut().filter(|machine| machine.leaving.is_none());
            self.summary.skipped_questions += asked.map(Followed::ask).sum::<u64>();
        }
        if self.checkpointed.elapsed() >= CHECKPOINT_EVERY {
            self.keeper.checkpoint();
            self.checkpointed = Instant::now();
        }
    }

    fn record_now(&mut self, gathered: Gathered) {
        let now = Clocks::now();
        self.record_at(self.pace.time_ns(now.monotonic_ns), gathered, false);
    }

    /// Finds places for what has none, and records all of it.
    fn record_at(&mut self, time_ns: u64, mut gathered: Gathered, after_step: bool) {
        if !gathered.wanted.is_empty() {
            self.register(&mut gathered);
        }
        self.keeper.record(time_ns, &gathered.samples, after_step);
        gathered.samples.clear();
        gathered.wanted.clear();
        self.gathered = gathered;
    }

    fn register(&mut self, gathered: &mut Gathered) {
        let mut wanted: Vec<(SeriesKey, Kind)> = Vec::new();
        let mut values = Vec::new();
        for &(id, number, kind, value) in &gathered.wanted {
            let Some(machine) = self.machines.get_mut(&id) else { continue };
            match machine.book().key(number) {
                Ok(key) => {
                    wanted.push((key, kind));
                    values.push((id, number, value));
                }
                Err(error) => {
                    machine.book().settle(number, None);
                    self.keeper.tell_once("key".into(), &format!("a metric is not recorded: {error}"));
                }
            }
        }
        for (place, (id, number, value)) in self.keeper.register(&wanted).into_iter().zip(values) {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.book().settle(number, place);
            }
            gathered.samples.extend(place.map(|place| (place, value)));
        }
    }

    fn register_own(&mut self) {
        let keys = OWN.iter().filter_map(|(name, kind)| Some((SeriesKey::new(*name).ok()?, *kind)));
        self.own = self.keeper.register(&keys.collect::<Vec<_>>());
    }

    fn own_values(&self) -> [f64; OWN.len()] {
        [
            self.cpu_ns() as f64 / 1e9,
            self.keeper.bytes() as f64,
            self.machines.len() as f64,
            self.keeper.samples as f64,
            self.summary.missed_ticks as f64,
            self.summary.skipped_questions as f64,
        ]
    }

    fn cpu_ns(&self) -> u64 {
        thread_cpu_ns() + self.asking_cpu_ns
    }

    /// Lets go of machines that have said everything, or had their time.
    fn let_go(&mut self) {
        let now = Instant::now();
        let summary = &mut self.summary;
        self.machines.retain(|_, machine| {
            let is_over = |(_, deadline): &(_, Instant)| *deadline <= now || !machine.is_asking();
            if !machine.leaving.as_ref().is_some_and(is_over) {
                return true;
            }
            let ended = machine.summary();
            summary.followed += ended.followed;
            if let Some((reply, _)) = machine.leaving.take() {
                // Whoever asked may have given up.
                let _ = reply.send(ended);
            }
            false
        });
    }

    /// Takes the last samples of those who are still here, and closes the store.
    fn end(mut self, inbox: &Receiver<Message>) -> Result<Summary, virtmark_timeseries::Error> {
        let mut gathered = mem::take(&mut self.gathered);
        let (nobody, _) = std::sync::mpsc::channel();
        let deadline = Instant::now() + LAST_ANSWERS;
        for machine in self.machines.values_mut() {
            machine.observe(&mut gathered);
            if machine.leaving.is_none() {
                machine.ask_last();
                machine.leaving = Some((nobody.clone(), deadline));
            }
        }
        for (place, value) in self.own.iter().zip(self.own_values()) {
            gathered.samples.extend(place.map(|place| (place, value)));
        }
        self.record_now(gathered);
        self.let_go();
        while !self.machines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok(Message::Answer(answer)) = inbox.recv_timeout(left) {
                self.take_answer(&answer);
            }
            self.let_go();
        }
        self.summary.samples = self.keeper.samples;
        self.summary.rejected = self.keeper.rejected;
        self.summary.cpu = Duration::from_nanos(self.cpu_ns());
        self.keeper.close()?;
        Ok(self.summary)
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}
