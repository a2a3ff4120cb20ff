//! Any text as a mapping.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/mapping.rs"]
mod mapping;

use proptest::prelude::*;

use mapping::check_any_mapping;

/// Every kind of thing that a mapping may have.
const EXAMPLE: &str = include_str!("../mappings/rest.toml");

#[test]
fn the_unchanged_example_is_taken() {
    assert!(check_any_mapping(EXAMPLE));
}

proptest! {
    #[test]
    fn changed_text_is_taken_or_refused(
        from: prop::sample::Index,
        length in 0usize..20,
        with in "[ -~\n]{0,12}",
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        let from = from.index(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, with.chars());
        check_any_mapping(&text.into_iter().collect::<String>());
    }

    #[test]
    fn lines_may_be_lost_and_change_places(lost: prop::sample::Index, one: prop::sample::Index, other: prop::sample::Index) {
        let mut lines: Vec<&str> = EXAMPLE.lines().collect();
        let count = lines.len();
        lines.swap(one.index(count), other.index(count));
        lines.remove(lost.index(count));
        check_any_mapping(&lines.join("\n"));
    }

    #[test]
    fn any_text_is_refused_or_taken(text: String) {
        check_any_mapping(&text);
    }
}
