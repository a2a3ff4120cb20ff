//! The results in any output.

#[path = "support/output.rs"]
mod support;

use proptest::prelude::*;
use support::check_any_output;

proptest! {
    #[test]
    fn any_bytes(output in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        check_any_output(&output, &cuts);
    }

    #[test]
    fn what_looks_like_results(
        lines in prop::collection::vec("(virtmark: metric ?)?[a-c0-9.eE+ \r\nsm/=]{0,30}(better=(higher|lower))?\n?", 0..20),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        check_any_output(lines.concat().as_bytes(), &cuts);
    }
}
