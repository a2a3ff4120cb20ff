//! The slot protocol under every interleaving and every order of memory that is allowed.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p virtmark-timeseries --test loom --release`

#![cfg(loom)]
#![allow(unreachable_pub, reason = "the protocol is compiled here as a module of the test")]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
    pub(crate) use loom::thread::yield_now;

    pub(crate) const SPINS: u32 = 0;
    pub(crate) const YIELDS: u32 = 1;
}

#[allow(dead_code, reason = "the models use a part of it")]
#[path = "../src/slot.rs"]
mod slot;

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use slot::{NarrowValue, WideValue};

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.max_branches = 100_000;
    builder.check(model);
}

fn words<const N: usize>() -> Arc<[AtomicU64; N]> {
    Arc::new(std::array::from_fn(|_| AtomicU64::new(0)))
}

fn wide(values: &[f64]) -> WideValue {
    WideValue {
        count: values.len() as u64,
        sum: values.iter().sum(),
        min: values.iter().copied().reduce(f64::min).unwrap(),
        max: values.iter().copied().reduce(f64::max).unwrap(),
        first: values[0],
        last: values[values.len() - 1],
    }
}

/// A reader beside the first samples of a slot sees none, one or both, never half of one.
#[test]
fn a_wide_slot_is_read_whole_while_samples_come_in() {
    explore(|| {
        let slot = words();
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                assert!(slot::merge_wide(&slot, 7, 4.0));
                assert!(slot::merge_wide(&slot, 7, 1.0));
            })
        };
        match slot::read_wide(&slot) {
            None => {}
            Some((7, value)) => assert!([wide(&[4.0]), wide(&[4.0, 1.0])].contains(&value), "{value:?}"),
            Some((tick, _)) => panic!("tick {tick}"),
        }
        writer.join().unwrap();
        assert_eq!(slot::read_wide(&slot), Some((7, wide(&[4.0, 1.0]))));
    });
}

/// A reader beside the next lap sees the old tick with the old values or the new one with the new values.
#[test]
fn a_wide_slot_never_shows_one_lap_under_the_tick_of_another() {
    explore(|| {
        let slot = words();
        assert!(slot::merge_wide(&slot, 7, 4.0));
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || assert!(slot::merge_wide(&slot, 607, 9.0)))
        };
        match slot::read_wide(&slot) {
            // Found half-written for longer than a reader waits, which in this model is once.
            None => {}
            Some((7, value)) => assert_eq!(value, wide(&[4.0])),
            Some((607, value)) => assert_eq!(value, wide(&[9.0])),
            Some((tick, _)) => panic!("tick {tick}"),
        }
        writer.join().unwrap();
        assert!(!slot::merge_wide(&slot, 7, 5.0), "the old tick does not come back");
        assert_eq!(slot::read_wide(&slot), Some((607, wide(&[9.0]))));
    });
}

/// The same for narrow slots, over a sample that is added and the next lap.
#[test]
fn a_narrow_slot_is_read_whole() {
    explore(|| {
        let slot = words();
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                assert!(slot::merge_narrow(&slot, 7, 4.0, true));
                assert!(slot::merge_narrow(&slot, 7, 1.0, true));
                assert!(slot::merge_narrow(&slot, 607, 9.0, true));
            })
        };
        match slot::read_narrow(&slot) {
            None => {}
            Some((7, NarrowValue { count, value })) => {
                assert!([(1, 4.0), (2, 5.0)].contains(&(count, value)))
            }
            Some((607, found)) => assert_eq!(found, NarrowValue { count: 1, value: 9.0 }),
            Some((tick, _)) => panic!("tick {tick}"),
        }
        writer.join().unwrap();
        assert!(!slot::merge_narrow(&slot, 7, 5.0, true));
    });
}

/// A consolidation that replaces a slot is seen whole as well.
#[test]
fn a_replaced_slot_is_read_whole() {
    explore(|| {
        let slot = words();
        slot::set_wide(&slot, 3, &wide(&[4.0, 2.0]));
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot::set_wide(&slot, 3, &wide(&[4.0, 2.0, 8.0])))
        };
        if let Some((tick, value)) = slot::read_wide(&slot) {
            assert_eq!(tick, 3);
            assert!([wide(&[4.0, 2.0]), wide(&[4.0, 2.0, 8.0])].contains(&value), "{value:?}");
        }
        writer.join().unwrap();
    });
}
