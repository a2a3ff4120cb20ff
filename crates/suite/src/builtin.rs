//! The suites that are part of the program.

const SUITES: [(&str, &str); 2] = [
    ("quick", include_str!("../../../suites/quick.toml")),
    ("standard", include_str!("../../../suites/standard.toml")),
];

/// Names of the suites that are built in.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    SUITES.iter().map(|(name, _)| *name)
}

/// The file of a suite that is built in, to be run or written out.
pub fn builtin_text(name: &str) -> Option<&'static str> {
    SUITES.iter().find(|(suite, _)| *suite == name).map(|(_, text)| *text)
}
