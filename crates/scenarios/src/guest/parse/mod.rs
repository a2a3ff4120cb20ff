//! What measuring tools print, read into figures. Pure: text in, figures or a reason out, and no text makes them panic.

pub mod fio;
pub mod iperf3;
pub mod openssl;
pub mod ping;
pub mod sysbench;

use thiserror::Error;

/// Why a tool's output gives no figures.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The tool says itself that it failed.
    #[error("{tool} failed: {message}")]
    Failed {
        /// The tool.
        tool: &'static str,
        /// In its own words.
        message: String,
    },
    /// The output is not what this version of virtmark knows of the tool.
    #[error("cannot read what {tool} printed: {reason}; the output is kept with the sample")]
    Unreadable {
        /// The tool.
        tool: &'static str,
        /// What is not there, or is wrong.
        reason: String,
    },
}

impl ParseError {
    /// The tool's own words for its failure, if it is that.
    pub(super) fn told(error: Option<&Self>) -> Option<&str> {
        match error? {
            Self::Failed { message, .. } => Some(message),
            Self::Unreadable { .. } => None,
        }
    }
}

/// The reader of one tool's output, for its messages.
#[derive(Clone, Copy)]
struct Reader(&'static str);

impl Reader {
    fn unreadable(self, reason: impl Into<String>) -> ParseError {
        ParseError::Unreadable { tool: self.0, reason: reason.into() }
    }

    /// A figure: a number that is finite and not negative.
    fn number(self, text: &str, what: &str) -> Result<f64, ParseError> {
        let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| self.unreadable(format!("{what} is {:?}, which is no figure", clip(text))))
    }
}

/// What stands between `before` and `after` on the first line that has both.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.split_once(before)?.1.split_once(after).map(|(found, _)| found.trim()))
}

/// What follows `label` on the first line that begins with it, blanks aside.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(label)).map(str::trim)
}

/// As much of a text as a message has room for.
fn clip(text: &str) -> String {
    text.trim().chars().take(160).collect()
}
