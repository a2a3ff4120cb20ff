//! What must hold for any text that is given as a mapping. Used by the property test here and by the fuzz target in
//! `fuzz/`.

use virtmark_driver_endpoint::Mapping;

const ORIGIN: &str = "any.toml";

/// Refused with a line that it has, or a mapping of a provider with a name. Gives whether it was taken.
pub(crate) fn check_any_mapping(text: &str) -> bool {
    match Mapping::parse(text, ORIGIN) {
        Ok(mapping) => {
            assert!(!mapping.provider().is_empty());
            true
        }
        Err(error) => {
            let error = error.to_string();
            let told = error.strip_prefix("cannot use the mapping any.toml, line ").unwrap();
            let (line, problem) = told.split_once(": ").unwrap();
            let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line.parse().unwrap()), "{error}");
            assert!(!problem.is_empty(), "{error}");
            false
        }
    }
}
