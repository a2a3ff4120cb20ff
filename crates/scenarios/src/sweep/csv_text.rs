//! CSV as RFC 4180 has it: records of fields, quoted where they need it. Lines may end in LF or CRLF.

/// One record, with the line that it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: usize,
    pub(super) fields: Vec<String>,
}

/// A field, in quotes where it needs them.
pub(super) fn field(text: &str) -> String {
    // A reader may trim what is not quoted.
    let padded = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if padded || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// The records of a text, or the line at which it stops to be CSV, and why. Empty lines are passed over.
pub(super) fn records(text: &str) -> impl Iterator<Item = Result<Record, (usize, String)>> {
    let mut rest = text;
    let mut line = 1;
    std::iter::from_fn(move || {
        while let Some(after) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = after;
            line += 1;
        }
        if rest.is_empty() {
            return None;
        }
        match record(rest, line) {
            Ok((record, after)) => {
                line += rest[..rest.len() - after.len()].matches('\n').count();
                rest = after;
                Some(Ok(record))
            }
            Err(error) => {
                rest = "";
                Some(Err(error))
            }
        }
    })
}

/// The first record and what follows it.
fn record(text: &str, line: usize) -> Result<(Record, &str), (usize, String)> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, line)?,
            None => {
                let end = rest.find([',', '\n']).unwrap_or(rest.len());
                let field = &rest[..end];
                // The CR of a CRLF.
                let field = if rest[end..].starts_with(',') {
                    field
                } else {
                    field.strip_suffix('\r').unwrap_or(field)
                };
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        if let Some(after) = after.strip_prefix(',') {
            rest = after;
            continue;
        }
        let ended = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n'));
        return match ended {
            Some(after) => Ok((Record { line, fields }, after)),
            None if after.is_empty() => Ok((Record { line, fields }, after)),
            None => Err((line, format!("cell {} goes on after its closing quote", fields.len()))),
        };
    }
}

/// A field after its opening quote.
fn quoted_field(text: &str, line: usize) -> Result<(String, &str), (usize, String)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else {
            return Err((line, "a quote is opened and never closed".into()));
        };
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}
