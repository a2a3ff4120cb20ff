//! Machines are set up all or none, whatever goes wrong; the provider is one that keeps count.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use virtmark_fleet::Limit;
use virtmark_fleet::map::{Address, Machine};
use virtmark_fleet::provider::{Provider, Replica, Replicas, SetUpError, SetUpPlan, SetUpWatch, set_up};
use virtmark_hypervisor::{Cancel, Error, GuestLink};

/// What a machine does instead of becoming ready at once.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It cannot be made.
    Broken,
    /// It is never ready.
    Hangs,
    /// Its guest says nothing, and the platform tells it so.
    IsSilent,
    /// It panics, which is an error of a provider.
    Panics,
    /// It is ready after so many milliseconds.
    Slow(u64),
}

#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    torn_down: Mutex<Vec<String>>,
}

/// A provider whose machines do what they are told; without fate they are ready at once.
#[derive(Default)]
struct Fake {
    fates: BTreeMap<String, Fate>,
    counts: Arc<Counts>,
    /// Machines of which it is known that they have ended.
    dead: Arc<Mutex<Vec<String>>>,
    /// Whether all machines have one address.
    same_address: bool,
}

struct FakeMachine {
    place: Machine,
    known_hosts: String,
    counts: Arc<Counts>,
    dead: Arc<Mutex<Vec<String>>>,
    is_there: bool,
}

impl Fake {
    fn with(fates: impl IntoIterator<Item = (usize, Fate)>) -> Self {
        let fates = fates.into_iter().map(|(at, fate)| (format!("vm-{at}"), fate)).collect();
        Self { fates, ..Self::default() }
    }

    fn set_up(&self, count: usize, time: Duration, cancel: &Cancel) -> Result<Replicas, SetUpError> {
        set_up(self, &plan(count, 3, Some(time)), &(), cancel)
    }

    /// Whatever was made is gone.
    fn assert_nothing_left(&self) {
        let gone = self.counts.torn_down.lock().unwrap().len();
        assert_eq!(gone, self.counts.made.load(Ordering::SeqCst));
    }
}

impl Provider for Fake {
    fn set_up(&self, name: &str, limit: &Limit) -> Result<Box<dyn Replica>, Error> {
        let number: u16 = name.strip_prefix("vm-").unwrap().parse().unwrap();
        self.counts.most.fetch_max(1 + self.counts.now.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        let waited = self.wait(name, limit);
        self.counts.now.fetch_sub(1, Ordering::SeqCst);
        waited?;
        self.counts.made.fetch_add(1, Ordering::SeqCst);
        let port = if self.same_address { 22 } else { 1000 + number };
        Ok(Box::new(FakeMachine {
            place: Machine {
                name: name.into(),
                address: Address::parse(&format!("127.0.0.1:{port}")).unwrap(),
                aliases: Vec::new(),
            },
            known_hosts: format!("[127.0.0.1]:{port} ssh-ed25519 KEY{number}\n"),
            counts: Arc::clone(&self.counts),
            dead: Arc::clone(&self.dead),
            is_there: true,
        }))
    }
}

impl Fake {
    fn wait(&self, name: &str, limit: &Limit) -> Result<(), Error> {
        let fate = self.fates.get(name).copied();
        match fate {
            None => return Ok(()),
            Some(Fate::Broken) => {
                return Err(Error::OutOfMemory {
                    machine: name.into(),
                    wanted_bytes: 1 << 40,
                    reason: "there is less".into(),
                });
            }
            Some(Fate::IsSilent) => {
                return Err(Error::GuestSilent {
                    machine: name.into(),
                    timeout: SHORT,
                    console: "boot\n".into(),
                });
            }
            Some(Fate::Panics) => panic!("this provider is broken"),
            Some(Fate::Hangs | Fate::Slow(_)) => {}
        }
        let (tell, told) = mpsc::channel();
        let _hearing = limit.cancel.on_cancel(move || {
            let _ = tell.send(());
        });
        let left = limit.left().unwrap_or(Duration::from_secs(60));
        let time = match fate {
            Some(Fate::Slow(milliseconds)) => Duration::from_millis(milliseconds).min(left),
            _ => left,
        };
        if told.recv_timeout(time).is_ok() {
            return Err(Error::Cancelled { machine: name.into(), request: "its start".into() });
        }
        match limit.passed() {
            true => Err(Error::io(format!("wait for {name}"))(io::ErrorKind::ConnectionRefused.into())),
            false => Ok(()),
        }
    }
}

impl Replica for FakeMachine {
    fn machine(&self) -> &Machine {
        &self.place
    }

    fn known_hosts(&self) -> &str {
        &self.known_hosts
    }

    fn link(&self) -> Option<Arc<dyn GuestLink>> {
        None
    }

    fn ended(&self) -> Option<String> {
        self.dead.lock().unwrap().contains(&self.place.name).then(|| "it is stopped".into())
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_there, false) {
            self.counts.torn_down.lock().unwrap().push(self.place.name.clone());
        }
        Ok(())
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        let _ = self.tear_down();
    }
}

fn plan(count: usize, parallel: usize, time: Option<Duration>) -> SetUpPlan {
    SetUpPlan::numbered("vm", count, NonZeroUsize::new(parallel).unwrap(), time)
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(1);

/// What went wrong, of a set-up that must fail.
fn failure(result: Result<Replicas, SetUpError>) -> SetUpError {
    result.err().expect("it should fail")
}

#[test]
fn machines_are_in_the_order_of_the_plan_and_few_are_set_up_at_a_time() {
    let fake = Fake::with((0..9).map(|at| (at, Fate::Slow(40 - 4 * at as u64))));
    let replicas = fake.set_up(9, LONG, &Cancel::new()).unwrap();
    let names: Vec<&str> = replicas.map().machines().iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names, ["vm-0", "vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6", "vm-7", "vm-8"]);
    assert_eq!(fake.counts.most.load(Ordering::SeqCst), 3);
    assert!(replicas.known_hosts().starts_with("[127.0.0.1]:1000 ssh-ed25519 KEY0\n[127.0.0.1]:1001 "));
    assert_eq!(replicas.ready_times().count(), 9);
    assert!(replicas.tear_down().is_empty());
    fake.assert_nothing_left();
}

#[test]
fn one_that_cannot_be_made_undoes_the_others_and_ends_the_wait_for_more() {
    let fake = Fake::with([(2, Fate::Broken), (3, Fate::Hangs)]);
    let started = Instant::now();
    let error = failure(fake.set_up(50, LONG, &Cancel::new()));
    let text = error.to_string();
    assert!(text.contains("cannot set up vm-2, and so none of 50 machines"), "{text}");
    assert!(
        matches!(error, SetUpError::Machine { source, .. } if matches!(*source, Error::OutOfMemory { .. }))
    );
    assert!(started.elapsed() < LONG / 2);
    assert!(fake.counts.made.load(Ordering::SeqCst) < 50);
    fake.assert_nothing_left();
}

#[test]
fn all_must_be_ready_in_time() {
    let fake = Fake::with([(1, Fate::Hangs)]);
    let error = failure(fake.set_up(3, SHORT, &Cancel::new()));
    assert!(
        matches!(&error, SetUpError::NotReady { ready: 2, wanted: 3, name, .. } if name == "vm-1"),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("2 of 3 machines were ready within 1s") && text.contains("--timeout"), "{text}");
    fake.assert_nothing_left();

    let fake = Fake::with([(0, Fate::IsSilent)]);
    let text = failure(fake.set_up(1, LONG, &Cancel::new())).to_string();
    assert!(text.contains("vm-0: the guest of vm-0 did not answer") && !text.contains('\n'), "{text}");
    assert_eq!(text.matches("--timeout").count(), 1, "{text}");
}

#[test]
fn a_machine_without_its_turn_in_time_is_not_ready_either() {
    // Three at a time, each for more than half of the time: the last one cannot be.
    let fake = Fake::with((0..7).map(|at| (at, Fate::Slow(600))));
    let error = failure(fake.set_up(7, SHORT, &Cancel::new()));
    assert!(matches!(error, SetUpError::NotReady { .. }), "{error}");
    fake.assert_nothing_left();
}

#[test]
fn the_stop_ends_it_and_undoes_what_there_is() {
    struct Stop(Cancel);
    impl SetUpWatch for Stop {
        fn ready(&self, machine: &Machine, _: Duration) {
            assert_eq!(machine.name, "vm-0");
            self.0.cancel();
        }
    }
    let fake = Fake::with([(1, Fate::Hangs), (2, Fate::Hangs), (3, Fate::Hangs)]);
    let cancel = Cancel::new();
    let error = failure(set_up(&fake, &plan(4, 3, Some(LONG)), &Stop(cancel.clone()), &cancel));
    assert!(matches!(error, SetUpError::Interrupted), "{error}");
    assert_eq!(*fake.counts.torn_down.lock().unwrap(), ["vm-0"]);
    // A stop that was before makes nothing.
    assert!(matches!(failure(fake.set_up(4, LONG, &cancel)), SetUpError::Interrupted));
    fake.assert_nothing_left();
}

#[test]
fn one_that_dies_later_is_told_and_the_others_stay() {
    let fake = Fake::default();
    let replicas = fake.set_up(3, LONG, &Cancel::new()).unwrap();
    assert!(replicas.ended().is_empty());
    fake.dead.lock().unwrap().push("vm-1".into());
    assert_eq!(replicas.ended(), [("vm-1".to_owned(), "it is stopped".to_owned())]);
    assert!(fake.counts.torn_down.lock().unwrap().is_empty());
    drop(replicas);
    fake.assert_nothing_left();
}

#[test]
fn machines_with_one_address_make_no_map() {
    let fake = Fake { same_address: true, ..Fake::default() };
    let error = failure(fake.set_up(2, LONG, &Cancel::new()));
    assert!(matches!(&error, SetUpError::Map { problem } if problem.contains("vm-0")), "{error}");
    fake.assert_nothing_left();
}

#[test]
fn a_provider_that_panics_leaves_no_machine() {
    let fake = Fake::with([(1, Fate::Panics)]);
    let result =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fake.set_up(3, LONG, &Cancel::new())));
    assert!(result.is_err() || result.unwrap().is_err());
    fake.assert_nothing_left();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever some of them do: all are there, or none is.
    #[test]
    fn all_or_none(fates in prop::collection::vec(0_u8..12, 1..12), parallel in 1_usize..5) {
        let chosen = fates.iter().enumerate().filter_map(|(at, fate)| match fate {
            0 => Some((at, Fate::Broken)),
            1 => Some((at, Fate::Slow(3))),
            _ => None,
        });
        let fake = Fake::with(chosen);
        let result = set_up(&fake, &plan(fates.len(), parallel, Some(LONG)), &(), &Cancel::new());
        prop_assert_eq!(result.is_err(), fates.contains(&0));
        if let Ok(replicas) = result {
            prop_assert_eq!(replicas.map().machines().len(), fates.len());
            prop_assert!(fake.counts.torn_down.lock().unwrap().is_empty());
            drop(replicas);
        }
        fake.assert_nothing_left();
    }
}
