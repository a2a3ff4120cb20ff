//! How text for people is drawn: colours, characters, width.

use std::ffi::OsStr;
use std::io::IsTerminal;

/// How text for people is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use ANSI colours and weights.
    pub colour: bool,
    /// Whether lines, bars and marks may use characters beyond ASCII.
    pub unicode: bool,
    /// Columns of text that fit.
    pub width: u16,
}

impl Default for Style {
    /// Without colours, 100 columns wide.
    fn default() -> Self {
        Self { colour: false, unicode: true, width: 100 }
    }
}

impl Style {
    /// What suits standard error as it is now: its width, and colours unless it is no terminal or `NO_COLOR` is set.
    pub fn for_stderr() -> Self {
        let width = comfy_table::Table::new().use_stderr().width();
        Self::for_stream(
            std::io::stderr().is_terminal(),
            width,
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        )
    }

    /// What suits a stream; `no_color` and `term` are the environment variables of these names.
    ///
    /// `NO_COLOR` counts when set to anything but nothing (<https://no-color.org>). Without a known width, or with
    /// one too narrow for any table, 100 columns are assumed.
    pub fn for_stream(
        is_terminal: bool,
        width: Option<u16>,
        no_color: Option<&OsStr>,
        term: Option<&OsStr>,
    ) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        let dumb = term.is_some_and(|term| term == "dumb");
        Self {
            colour: is_terminal && !refused && !dumb,
            unicode: !dumb,
            width: width.filter(|width| is_terminal && *width >= 40).unwrap_or(100),
        }
    }

    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Plain => return text.into(),
            Tone::Strong => "1",
            Tone::Warning => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }
}

/// What a text says beyond its words. Never the only sign: colours may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// A failure.
    Bad,
    /// Less important than the rest.
    Faint,
    /// A success.
    Good,
    /// Nothing.
    #[default]
    Plain,
    /// More important than the rest.
    Strong,
    /// To be careful with.
    Warning,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_consent() {
        let stream = |terminal, no_color: Option<&str>, term: Option<&str>| {
            Style::for_stream(terminal, Some(120), no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(stream(true, None, Some("xterm")).colour);
        assert!(stream(true, Some(""), None).colour);
        assert!(!stream(true, Some("0"), None).colour);
        assert!(!stream(false, None, None).colour);
        assert!(!stream(true, None, Some("dumb")).colour);
        assert_eq!(stream(true, None, None).width, 120);
        assert_eq!(stream(false, None, None).width, 100);
    }
}
