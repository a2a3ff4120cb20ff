//! A command line as words.

use crate::failure::Failure;

/// Splits a command into program and arguments at spaces, as a shell does with quotes and backslashes. Nothing is
/// expanded: who wants a shell names it.
pub(in crate::commands) fn split(text: &str, option: &str) -> Result<Vec<String>, Failure> {
    let (mut words, mut word, mut characters) = (Vec::new(), None::<String>, text.chars());
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => {
                let next = characters.next().ok_or_else(|| open(text, option, "a backslash"))?;
                word.get_or_insert_default().push(next);
            }
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err(open(text, option, "a quote")),
                        Some(end) if end == quote => break,
                        Some('\\') if quote == '"' => {
                            let next = characters.next().ok_or_else(|| open(text, option, "a quote"))?;
                            if !matches!(next, '"' | '\\' | '$' | '`') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        Some(inside) => word.push(inside),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err(Failure::usage(format!(
            "{option} names no program: give one, such as {option} '/bin/true'"
        )));
    }
    Ok(words)
}

fn open(text: &str, option: &str, what: &str) -> Failure {
    Failure::usage(format!("cannot read {option} {text:?}: {what} has no end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let split = |text| split(text, "--cmd").map_err(|failure| failure.message);
        for (text, words) in [
            ("a b  c", &["a", "b", "c"][..]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a ''", &["a", ""]),
            (r#"a\ b "c\"d" "e\n" 'f\'"#, &["a b", "c\"d", "e\\n", "f\\"]),
            ("x=$HOME *.c", &["x=$HOME", "*.c"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["", "  ", "''", "a 'b", "a \"b", "a \\"] {
            assert!(split(text).unwrap_err().contains("--cmd"), "{text:?}");
        }
    }
}
