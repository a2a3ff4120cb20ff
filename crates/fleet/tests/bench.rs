//! Benches do what is left to do, once, on machines that are set up only for that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use virtmark_fleet::bench::{BenchFile, State, StateError, Step, StepStatus, Via, Work, carry_out};
use virtmark_fleet::map::{Address, Machine};
use virtmark_fleet::provider::{Provider, Replica, Replicas, SetUpPlan, set_up};
use virtmark_fleet::{Limit, Need, Verdict};
use virtmark_hypervisor::{Cancel, GuestLink};

/// Machines that are said to be there, some of them dead.
#[derive(Clone, Default)]
struct Machines {
    dead: Arc<Mutex<Vec<String>>>,
}

struct One {
    place: Machine,
    all: Machines,
}

impl Provider for Machines {
    fn set_up(&self, name: &str, _: &Limit) -> virtmark_hypervisor::Result<Box<dyn Replica>> {
        let address = Address::parse(&format!("{name}.example")).unwrap();
        let place = Machine { name: name.into(), address, aliases: Vec::new() };
        Ok(Box::new(One { place, all: self.clone() }))
    }
}

impl Replica for One {
    fn machine(&self) -> &Machine {
        &self.place
    }

    fn known_hosts(&self) -> &str {
        ""
    }

    fn link(&self) -> Option<Arc<dyn GuestLink>> {
        None
    }

    fn ended(&self) -> Option<String> {
        self.all.dead.lock().unwrap().contains(&self.place.name).then(|| "it is stopped".into())
    }

    fn tear_down(&mut self) -> virtmark_hypervisor::Result<()> {
        Ok(())
    }
}

/// What is done with steps, by the payload's place and the repetition; success where nothing is said.
struct Fake {
    directory: std::path::PathBuf,
    machines: Machines,
    verdicts: BTreeMap<(usize, u32), Verdict>,
    /// A step whose run kills a machine, stops the bench, or cannot be.
    kills: Option<(usize, u32)>,
    stops: Option<((usize, u32), Cancel)>,
    breaks: Option<(usize, u32)>,
    refuses: bool,
    set_ups: usize,
    ran: Vec<(usize, u32)>,
}

#[derive(Debug, PartialEq)]
enum Trouble {
    Refused,
    State(String),
    Step,
}

impl From<StateError> for Trouble {
    fn from(error: StateError) -> Self {
        Self::State(error.to_string())
    }
}

impl Work for Fake {
    type Error = Trouble;

    fn set_up(&mut self) -> Result<Replicas, Trouble> {
        self.set_ups += 1;
        if self.refuses {
            return Err(Trouble::Refused);
        }
        let plan = SetUpPlan::numbered("vm", 2, NonZeroUsize::MIN, None);
        Ok(set_up(&self.machines, &plan, &(), &Cancel::new()).unwrap())
    }

    fn run(
        &mut self,
        step: &Step,
        machines: &Replicas,
    ) -> Result<(String, Verdict, Option<String>), Trouble> {
        assert_eq!(machines.map().machines().len(), 2);
        let place = (step.payload, step.repetition);
        if self.breaks == Some(place) {
            return Err(Trouble::Step);
        }
        self.ran.push(place);
        if self.kills == Some(place) {
            self.machines.dead.lock().unwrap().push("vm-1".into());
        }
        if let Some((at, cancel)) = &self.stops
            && *at == place
        {
            cancel.cancel();
        }
        let run = format!("run-{}-{}-{}", step.payload, step.repetition, self.ran.len());
        fs::create_dir_all(self.directory.join(&run)).unwrap();
        let verdict = self.verdicts.get(&place).copied().unwrap_or(Verdict::AllSucceeded);
        let msg = (verdict != Verdict::AllSucceeded).then(|| "vm-0: exit code 3".to_owned());
        Ok((run, verdict, msg))
    }

    fn payload(&self, at: usize) -> String {
        ["first", "second"][at].into()
    }
}

struct Bench {
    here: TempDir,
    steps: Vec<Step>,
    cancel: Cancel,
}

const FILE: &str =
    "repetitions = 2\n[machines]\ncount = 2\n[[payload]]\nfile = \"a\"\n[[payload]]\nfile = \"b\"\n";

impl Bench {
    fn new() -> Self {
        Self { here: tempfile::tempdir().unwrap(), steps: steps(FILE, "aa"), cancel: Cancel::new() }
    }

    fn work(&self) -> Fake {
        Fake {
            directory: self.here.path().into(),
            machines: Machines::default(),
            verdicts: BTreeMap::new(),
            kills: None,
            stops: None,
            breaks: None,
            refuses: false,
            set_ups: 0,
            ran: Vec::new(),
        }
    }

    fn carry_out(&self, work: &mut Fake, need: Need, again: bool) -> (Vec<StepStatus>, Result<(), Trouble>) {
        let mut state = State::open(self.here.path()).unwrap();
        let (reports, result) = carry_out(&self.steps, &mut state, need, again, work, &self.cancel);
        for report in &reports {
            let ran = matches!(report.status, StepStatus::Done | StepStatus::Failed | StepStatus::Partly);
            // One that an error broke off may have changed the machines.
            let broke_off = report.changed && result == Err(Trouble::Step) && report.status == NotRun;
            assert_eq!(report.changed, ran || broke_off, "{report:?}");
            let good = matches!(report.status, StepStatus::Done | StepStatus::AlreadyDone);
            assert_eq!(report.failed, !good, "{report:?}");
            assert_eq!(report.run.is_some(), ran || good, "{report:?}");
        }
        let broken_off = reports.iter().filter(|report| report.changed && report.status == NotRun).count();
        assert_eq!(broken_off, usize::from(result == Err(Trouble::Step)));
        (reports.iter().map(|report| report.status).collect(), result)
    }
}

fn steps(text: &str, sum: &str) -> Vec<Step> {
    let file = BenchFile::parse(text.as_bytes(), Path::new("bench.toml")).unwrap();
    Step::all(&file, Via::Ssh, &[sum.into(), "bb".into()])
}

use StepStatus::{AlreadyDone, Done, Failed, NotRun, Partly};

#[test]
fn what_is_done_is_not_done_again_and_needs_no_machines() {
    let mut bench = Bench::new();
    let mut work = bench.work();
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![Done; 4], Ok(())));
    assert_eq!((work.set_ups, work.ran.as_slice()), (1, &[(0, 1), (1, 1), (0, 2), (1, 2)][..]));

    let mut work = bench.work();
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![AlreadyDone; 4], Ok(())));
    assert_eq!((work.set_ups, work.ran.len()), (0, 0));

    // Unless somebody wants it.
    assert_eq!(bench.carry_out(&mut work, Need::All, true), (vec![Done; 4], Ok(())));

    // Another payload, and one more repetition.
    bench.steps = steps(&FILE.replace("= 2\n[mach", "= 3\n[mach"), "cc");
    let mut work = bench.work();
    let expected = vec![Done, AlreadyDone, Done, AlreadyDone, Done, Done];
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (expected, Ok(())));
    assert_eq!(work.ran, [(0, 1), (0, 2), (0, 3), (1, 3)]);
}

#[test]
fn a_step_that_fails_costs_no_other_and_is_tried_again() {
    let bench = Bench::new();
    let mut work = bench.work();
    work.verdicts = BTreeMap::from([((1, 1), Verdict::NoneSucceeded), ((0, 2), Verdict::SomeSucceeded)]);
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![Done, Failed, Partly, Done], Ok(())));
    let mut work = bench.work();
    let expected = vec![AlreadyDone, Done, Done, AlreadyDone];
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (expected, Ok(())));
    assert_eq!((work.set_ups, work.ran.as_slice()), (1, &[(1, 1), (0, 2)][..]));
}

#[test]
fn a_machine_that_dies_ends_what_needs_it() {
    let bench = Bench::new();
    let mut work = bench.work();
    work.kills = Some((1, 1));
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![Done, Done, NotRun, NotRun], Ok(())));

    let mut work = bench.work();
    work.kills = Some((0, 2));
    let one = Need::AtLeast(NonZeroUsize::MIN);
    assert_eq!(bench.carry_out(&mut work, one, false), (vec![AlreadyDone, AlreadyDone, Done, Done], Ok(())));
}

#[test]
fn the_stop_keeps_what_is_done() {
    let bench = Bench::new();
    let mut work = bench.work();
    work.stops = Some(((1, 1), bench.cancel.clone()));
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![Done, Done, NotRun, NotRun], Ok(())));
    let bench = Bench { cancel: Cancel::new(), ..bench };
    let mut work = bench.work();
    let expected = vec![AlreadyDone, AlreadyDone, Done, Done];
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (expected, Ok(())));
}

#[test]
fn without_machines_nothing_is_run() {
    let bench = Bench::new();
    let mut work = Fake { refuses: true, ..bench.work() };
    assert_eq!(bench.carry_out(&mut work, Need::All, false), (vec![NotRun; 4], Err(Trouble::Refused)));
    assert!(work.ran.is_empty());
    // An error of a step ends the bench; what was done before it is kept.
    let mut work = Fake { breaks: Some((0, 2)), ..bench.work() };
    let expected = (vec![Done, Done, NotRun, NotRun], Err(Trouble::Step));
    assert_eq!(bench.carry_out(&mut work, Need::All, false), expected);
    let mut work = bench.work();
    let expected = (vec![AlreadyDone, AlreadyDone, Done, Done], Ok(()));
    assert_eq!(bench.carry_out(&mut work, Need::All, false), expected);
}

#[test]
fn the_same_payload_before_and_after_another_is_two_steps() {
    let text = "[machines]\ncount = 2\n[[payload]]\nfile = \"a\"\n[[payload]]\nfile = \"a\"\n";
    let file = BenchFile::parse(text.as_bytes(), Path::new("bench.toml")).unwrap();
    let keys = || {
        let steps = Step::all(&file, Via::Ssh, &["aa".into(), "aa".into()]);
        steps.into_iter().map(|step| step.key).collect::<BTreeSet<_>>()
    };
    assert_eq!(keys().len(), 2);
    assert_eq!(keys(), keys());
}
