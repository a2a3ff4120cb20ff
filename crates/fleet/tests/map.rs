//! Any text as a map of machines.

#[path = "support/map.rs"]
mod support;

use proptest::prelude::*;
use support::check_any_map;

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_any_map(&bytes);
    }

    #[test]
    fn what_looks_like_a_map(text in "([\\[{a1:.%\\]}\",# \n-]|10\\.0\\.0\\.|\"name\"|\"address\"|\"port\"){0,40}") {
        check_any_map(text.as_bytes());
    }

    #[test]
    fn lines_that_are_nearly_right(lines in prop::collection::vec("[0-9a-f:.%\\[\\]]{1,12}( [a-z0-9_.-]{1,6}){0,3}( #x)?", 0..6)) {
        check_any_map(lines.join("\n").as_bytes());
    }
}
