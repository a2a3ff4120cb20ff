//! What must hold for any bytes that are given as an exported run. Used by the property test here and by the fuzz target
//! in `fuzz/`.

use tempfile::TempDir;
use virtmark_archive::{Archive, Format, ImportFormat, RunFilter};

/// An empty archive, in a directory that goes with it.
pub(crate) fn new_archive() -> (TempDir, Archive) {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(directory.path().join("archive.sqlite")).unwrap();
    (directory, archive)
}

/// In both formats: refused with a reason, or a run whose export reads back as the same run with the same samples. The
/// archive is as empty afterwards as it was before. Gives whether it was taken.
pub(crate) fn check_any_export(archive: &mut Archive, bytes: &[u8]) -> bool {
    let mut taken = false;
    for (format, export) in [(ImportFormat::Json, Format::Json), (ImportFormat::Jsonl, Format::Jsonl)] {
        match archive.import(format, bytes) {
            Ok(id) => {
                taken = true;
                let (run, samples) = (archive.run(id.as_str()).unwrap(), archive.samples(&id).unwrap());
                let mut written = Vec::new();
                archive.export(&id, export, &mut written).unwrap();
                archive.remove(&id).unwrap();
                assert_eq!(archive.import(format, &*written).unwrap(), id);
                assert_eq!(archive.run(id.as_str()).unwrap(), run);
                assert_eq!(archive.samples(&id).unwrap(), samples);
                archive.remove(&id).unwrap();
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert_eq!(archive.runs(&RunFilter::default()).unwrap(), []);
    }
    taken
}
