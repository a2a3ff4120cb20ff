//! Output of commands as text for JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::api::Encoding;

/// The whole of a stream, or what is kept of it.
pub(crate) fn whole(bytes: Vec<u8>, encoding: Encoding) -> String {
    match encoding {
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Text => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        },
    }
}

/// A stream piece by piece. A character that is cut between two pieces comes whole with the second.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    encoding: Encoding,
    /// The beginning of a character.
    cut: Vec<u8>,
}

impl Pieces {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, cut: Vec::new() }
    }

    /// The next piece; empty when there is not one whole character yet.
    pub(crate) fn next(&mut self, bytes: Vec<u8>) -> String {
        if self.encoding == Encoding::Base64 {
            return whole(bytes, self.encoding);
        }
        let mut all = std::mem::take(&mut self.cut);
        all.extend(bytes);
        self.cut = all.split_off(all.len() - cut_off(&all));
        whole(all, self.encoding)
    }

    /// What was cut by the end of the stream.
    pub(crate) fn last(&mut self) -> String {
        whole(std::mem::take(&mut self.cut), self.encoding)
    }
}

/// How many bytes at the end may become a character with what follows: at most 3.
fn cut_off(bytes: &[u8]) -> usize {
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    let invalid = last.invalid();
    // What is invalid at the very end and not yet wrong is a beginning (Unicode, "maximal subpart").
    let is_beginning = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if is_beginning { invalid.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_give_the_text_of_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[aäß→🦀]{0,20}".prop_map(String::into_bytes),
            ],
            size in 1usize..7,
        ) {
            let mut pieces = Pieces::new(Encoding::Text);
            let mut text = String::new();
            for piece in bytes.chunks(size) {
                text.push_str(&pieces.next(piece.to_vec()));
                prop_assert!(pieces.cut.len() <= 3);
            }
            text.push_str(&pieces.last());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        assert_eq!(whole(b"foobar".to_vec(), Encoding::Base64), "Zm9vYmFy");
        assert_eq!(whole(b"foob".to_vec(), Encoding::Base64), "Zm9vYg==");
        assert_eq!(Pieces::new(Encoding::Base64).next(vec![0xff]), "/w==");
    }
}
