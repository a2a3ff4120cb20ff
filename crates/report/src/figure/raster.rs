//! Figures as pixels.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::ReportError;

/// The font's own name of itself.
const FAMILY: &str = "DejaVu Sans";
/// Subsets of DejaVu Sans Condensed; `fonts/LICENSE` has their licence and what they hold.
const FACES: [&[u8]; 2] = [
    include_bytes!("../../fonts/DejaVuSansCondensed.ttf"),
    include_bytes!("../../fonts/DejaVuSansCondensed-Bold.ttf"),
];
/// Widths that make a picture; beyond, a slip of the hand would take gigabytes.
const WIDTHS: std::ops::RangeInclusive<u32> = 100..=8000;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for face in FACES {
        fonts.load_font_data(face.to_vec());
    }
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// An SVG document of this crate as PNG.
pub(super) fn png(svg: &str, title: &str, width: u32) -> Result<Vec<u8>, ReportError> {
    let failed = |why: String| ReportError::Png { title: title.into(), width, why };
    if !WIDTHS.contains(&width) {
        return Err(failed(format!("choose {} to {} pixels", WIDTHS.start(), WIDTHS.end())));
    }
    let options = Options { fontdb: Arc::clone(&FONTS), font_family: FAMILY.into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let scale = width as f32 / tree.size().width();
    let height = (tree.size().height() * scale).ceil() as u32;
    let mut pixels = Pixmap::new(width, height)
        .ok_or_else(|| failed(format!("there is no memory for {width} × {height} pixels; choose fewer")))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_weights_of_the_font_are_found_by_the_generic_name() {
        let weights = [fontdb::Weight::NORMAL, fontdb::Weight(600)];
        let found = weights.map(|weight| {
            let families = &[fontdb::Family::SansSerif];
            let query = fontdb::Query { families, weight, ..fontdb::Query::default() };
            FONTS.query(&query).and_then(|id| FONTS.face(id)).map(|face| face.weight)
        });
        assert_eq!(found, [Some(fontdb::Weight::NORMAL), Some(fontdb::Weight::BOLD)]);
    }

    #[test]
    fn text_is_drawn_without_fonts_of_the_system() {
        let picture = |text: &str| {
            let svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"40\" font-family=\"sans-serif\">\
                 <text x=\"8\" y=\"20\">{text}</text></svg>"
            );
            let png = png(&svg, "test", 800).unwrap();
            Pixmap::decode_png(&png).unwrap().data().iter().filter(|byte| **byte > 0).count()
        };
        assert_eq!(picture(""), 0);
        // What has no glyph here is drawn as a box, so each of these must differ from it.
        let boxed = picture("\u{4e00}");
        for sign in ["a", "µ", "…", "–", "→", "≤", "×", "⁶", "ж", "λ", "\u{fffd}"] {
            let drawn = picture(sign);
            assert!(drawn > 0 && drawn != boxed, "{sign}: {drawn}");
        }
    }

    #[test]
    fn a_picture_has_the_width_asked_for_or_says_why_not() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"100\"/>";
        let picture = Pixmap::decode_png(&png(svg, "test", 1200).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (1200, 150));
        for width in [0, 99, 8001, u32::MAX] {
            let error = png(svg, "test", width).unwrap_err().to_string();
            assert!(error.contains("choose 100 to 8000 pixels"), "{error}");
        }
    }
}
