//! What must hold for any output of a payload.

use virtmark_payload::metric::{Line, Metric, Parser};

/// The same results however the output is cut; each metric reads back from what is written of it.
pub(crate) fn check_any_output(output: &[u8], cuts: &[usize]) {
    let whole = lines(&[output]);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (output.len() + 1)).collect();
    cuts.extend([0, output.len()]);
    cuts.sort_unstable();
    let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &output[pair[0]..pair[1]]).collect();
    assert_eq!(lines(&pieces), whole);
    for line in whole {
        match line {
            Line::Metric(metric) => {
                assert!(metric.value.is_finite() && metric.reading().value.is_finite());
                assert_eq!(Metric::parse(&metric.to_string()), Ok(metric));
            }
            Line::Malformed(malformed) => {
                assert!(malformed.line >= 1 && malformed.text.chars().count() <= 120)
            }
        }
    }
}

fn lines(pieces: &[&[u8]]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut parser = Parser::new();
    pieces.iter().for_each(|piece| parser.push(piece, |line| lines.push(line)));
    parser.finish(|line| lines.push(line));
    lines
}
