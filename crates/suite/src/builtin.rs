//! The suites that are part of the program.

const SUITES: [(&str, &str); 2] = [
    ("quick", include_str!("../../../suites/quick.toml")),
    ("standard", include_str!("../../../suites/standard.toml")),
];

/// Names of the suites that are built in.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    SUITES.iter().map(|(name, _)| *name)
}

/// How `virtmark suite run` finds the suite of this text again, which was once given to it as `named`: by that, unless a
/// suite of this name is built in and another one by now. Then by the name of a file that the text is to be written to.
pub fn named_again(named: &str, text: &str) -> String {
    match builtin_text(named) {
        Some(now) if now != text => format!("./{named}.toml"),
        _ => named.into(),
    }
}

/// The file of a suite that is built in, to be run or written out.
pub fn builtin_text(name: &str) -> Option<&'static str> {
    SUITES.iter().find(|(suite, _)| *suite == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_of_another_version_needs_its_own_file() {
        let quick = builtin_text("quick").unwrap();
        assert_eq!(named_again("quick", quick), "quick");
        assert_eq!(named_again("quick", "name = \"quick\"\n"), "./quick.toml");
        assert_eq!(named_again("mine.toml", quick), "mine.toml");
    }
}
