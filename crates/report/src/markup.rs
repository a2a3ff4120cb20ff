//! Writes HTML and SVG that is well-formed XML and escaped by construction.
//!
//! Every element is closed where its closure ends, and text and attribute values pass through one escape: there is
//! no way to write a tag that stays open, or to let a name from a guest become markup.

use std::fmt::{self, Display, Write};

/// A piece of markup under construction.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    out: String,
}

/// Attributes of one element.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

impl Markup {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An element with content.
    pub(crate) fn element(&mut self, tag: &str, attributes: Attributes<'_>, content: impl FnOnce(&mut Self)) {
        self.start(tag, attributes);
        self.out.push('>');
        content(self);
        self.end(tag);
    }

    /// An element that holds nothing but text.
    pub(crate) fn leaf(&mut self, tag: &str, attributes: Attributes<'_>, text: impl Display) {
        self.element(tag, attributes, |markup| markup.text(text));
    }

    /// An element without content.
    pub(crate) fn empty(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.start(tag, attributes);
        self.out.push_str("/>");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: impl Display) {
        escape(&mut self.out, &text);
    }

    /// Text of this crate's own style sheets, which holds nothing to escape.
    pub(crate) fn style_sheet(&mut self, css: &'static str) {
        debug_assert!(!css.contains(['<', '&']), "a style sheet must not need escaping");
        self.element("style", &[], |markup| markup.out.push_str(css));
    }

    /// A line break, so that people can read the source.
    pub(crate) fn newline(&mut self) {
        self.out.push('\n');
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn start(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(&mut self.out, value);
            self.out.push('"');
        }
    }

    fn end(&mut self, tag: &str) {
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }
}

fn escape(out: &mut String, text: &dyn Display) {
    // Neither the escape nor a String fails to write; an error could only be a Display that fails on purpose.
    let _ = write!(Escaped(out), "{text}");
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly every text, in documents of a hundred thousand samples.
        if text.bytes().all(is_plain) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(character),
                // XML has no way to write these, escaped or not.
                '\u{fffe}' | '\u{ffff}' => self.0.push('\u{fffd}'),
                _ if character.is_control() => self.0.push('\u{fffd}'),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

/// Whether a byte stands for itself, whatever is around it.
fn is_plain(byte: u8) -> bool {
    (byte == b' ' || byte.is_ascii_graphic()) && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')
}

/// Reads markup back, for tests: every tag closed in order, no bare markup characters, ids unique.
#[cfg(test)]
pub(crate) mod checker {
    /// The reason why the text is not well-formed, with the place.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        let mut open: Vec<&str> = Vec::new();
        let mut ids: Vec<&str> = Vec::new();
        let mut rest = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
        while let Some(start) = rest.find('<') {
            check_text(&rest[..start])?;
            let end =
                rest[start..].find('>').ok_or_else(|| format!("unended tag: {:.40}", &rest[start..]))?;
            let tag = &rest[start + 1..start + end];
            if tag.contains('<') {
                return Err(format!("tag in a tag: {tag}"));
            }
            if let Some(name) = tag.strip_prefix('/') {
                let expected = open.pop();
                if expected != Some(name) {
                    return Err(format!("</{name}> closes {expected:?}"));
                }
            } else {
                let name = tag.split([' ', '/']).next().unwrap_or_default();
                if !tag.matches('"').count().is_multiple_of(2) || name.is_empty() {
                    return Err(format!("bad tag: {tag}"));
                }
                if let Some(id) = tag.split(" id=\"").nth(1).and_then(|after| after.split('"').next()) {
                    if ids.contains(&id) {
                        return Err(format!("id twice: {id}"));
                    }
                    ids.push(id);
                }
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
            rest = &rest[start + end + 1..];
        }
        check_text(rest)?;
        if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
    }

    fn check_text(text: &str) -> Result<(), String> {
        for (at, _) in text.match_indices('&') {
            let entity = text[at..].split(';').next().unwrap_or_default();
            if !["&amp", "&lt", "&gt", "&quot", "&#39"].contains(&entity) {
                return Err(format!("bare ampersand: {:.30}", &text[at..]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_do_not_become_markup() {
        let mut markup = Markup::new();
        markup.leaf("p", &[("title", &"\"><script>&")], "<script>alert('x')</script>\u{1b}[31m");
        assert_eq!(
            markup.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;&amp;\">&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\u{fffd}[31m</p>"
        );
    }

    #[test]
    fn the_checker_finds_what_is_wrong() {
        assert!(checker::check("<a><b/></a> &amp; x").is_ok());
        for wrong in
            ["<a>", "<a></b>", "</a>", "a & b", "<a b=\"></a>", "<a id=\"x\"/><a id=\"x\"/>", "<a <b>"]
        {
            assert!(checker::check(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_the_text_the_markup_is_well_formed(text in "\\PC*|[<>&\"'\\x00-\\x1f]{0,20}", value in "\\PC*") {
            let mut markup = Markup::new();
            markup.element("p", &[("title", &value)], |p| {
                p.text(&text);
                p.empty("br", &[]);
            });
            prop_assert_eq!(checker::check(&markup.finish()), Ok(()));
        }
    }
}
