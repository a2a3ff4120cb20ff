//! What the shipped defaults of a comparison promise, on simulated machines: at most one false alarm in a hundred, and
//! a change of 10 % found at least 95 times in a hundred from 10 blocks. `examples/compare_rates.rs` does more of it.

mod simulated;

use simulated::{DISTURBED, NOISY, Noise, Order, QUIET, WILD, tally};
use virtmark_stats::compare::DEFAULT_BLOCKS;

const ORDERS: [Order; 2] = [Order::Interleaved, Order::Separate];

/// With 8 or fewer alarms in 2000 comparisons, a rate of 1 % is refused with a confidence of 99.8 %.
fn assert_no_false_alarms(noise: Noise) {
    assert_at_most(8, noise);
}

fn assert_at_most(most: u64, noise: Noise) {
    for order in ORDERS {
        let tally = tally(noise, order, 0.0, DEFAULT_BLOCKS, 2000);
        let alarms = tally.better + tally.worse;
        assert!(alarms <= most, "{alarms} false alarms in {tally:?}, {} {order:?}", noise.name);
    }
}

/// With 99 of 100 found, a rate of 95 % is refused with a confidence of 96 %.
fn assert_found(noise: Noise) {
    for order in ORDERS {
        let tally = tally(noise, order, 0.10, DEFAULT_BLOCKS, 100);
        assert!(tally.worse >= 99 && tally.better == 0, "{tally:?}, {} {order:?}", noise.name);
    }
}

#[test]
fn no_false_alarms_on_a_machine_of_its_own() {
    assert_no_false_alarms(QUIET);
}

#[test]
fn no_false_alarms_on_a_shared_machine() {
    assert_no_false_alarms(NOISY);
}

#[test]
fn no_false_alarms_beside_a_loud_neighbour() {
    assert_no_false_alarms(DISTURBED);
}

/// The exact tests keep 1 % however wild it gets; 30 or more of 2000 would come with a probability of 1.3 % if they kept
/// it with nothing to spare.
#[test]
fn noise_without_measure_raises_no_more_alarms_than_promised() {
    assert_at_most(30, WILD);
}

#[test]
fn a_tenth_more_is_found_on_a_machine_of_its_own() {
    assert_found(QUIET);
}

#[test]
fn a_tenth_more_is_found_on_a_shared_machine() {
    assert_found(NOISY);
}
