//! The pictures of a sweep as files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use virtmark_scenarios::sweep::{Row, Sweep, SweepError, summary};
use virtmark_stats::knee;

use super::figures;
use crate::ReportError;

/// Pixels across: the drawing's natural size.
const WIDTH: u32 = 800;

/// How a sweep is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct PlotOptions {
    /// In which formats.
    pub formats: Vec<PictureFormat>,
    /// Pixels across of PNG, 100 to 8,000.
    pub width: u32,
    /// How the knee is looked for, with the objective to keep.
    pub knee: knee::Options,
}

impl Default for PlotOptions {
    /// PNG, 800 pixels wide, and SVG.
    fn default() -> Self {
        let formats = vec![PictureFormat::Png, PictureFormat::Svg];
        Self { formats, width: WIDTH, knee: knee::Options::default() }
    }
}

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Pixels on white.
    Png,
    /// Lines and text, which follow the reader's dark mode.
    Svg,
}

/// Why a sweep was not drawn.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlotsError {
    /// A picture cannot be drawn.
    #[error(transparent)]
    Draw(#[from] ReportError),
    /// A file cannot be written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The rows cannot be drawn.
    #[error("cannot draw the sweep")]
    Rows(#[from] SweepError),
}

/// Draws the rows of a sweep into a directory, which is made where there is none, and writes what is said of the knee to
/// `knee_summary.txt` there. Gives the files in the order in which they were written; those of the same names are replaced.
///
/// # Errors
/// [`PlotsError`] when the rows are no sweep, or a file cannot be written.
pub fn plots(rows: &[Row], directory: &Path, options: &PlotOptions) -> Result<Vec<PathBuf>, PlotsError> {
    let sweep = Sweep::from_rows(rows, &options.knee)?;
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let mut written = Vec::new();
    for figure in figures(&sweep) {
        for format in &options.formats {
            let (extension, bytes) = match format {
                PictureFormat::Png => ("png", figure.figure.to_png(options.width)?),
                PictureFormat::Svg => ("svg", figure.figure.to_svg().into_bytes()),
            };
            write(directory.join(format!("{}.{extension}", figure.name)), &bytes, &mut written)?;
        }
    }
    write(directory.join("knee_summary.txt"), summary::knee_text(&sweep).as_bytes(), &mut written)?;
    Ok(written)
}

fn write(path: PathBuf, bytes: &[u8], written: &mut Vec<PathBuf>) -> Result<(), PlotsError> {
    fs::write(&path, bytes).map_err(failed("write", &path))?;
    written.push(path);
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlotsError {
    let path = path.to_owned();
    move |source| PlotsError::Io { action, path, source }
}
