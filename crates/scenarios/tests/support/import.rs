//! What must hold for any bytes that are given as a result file. Used by the property test here and by the fuzz target
//! in `fuzz/`.

use virtmark_scenarios::computesdk::{from_json, to_file};

/// Refused with a reason, or runs that can be written again, with as many samples, of which as many succeeded. Gives
/// whether the bytes were read.
pub(crate) fn check_any_file(bytes: &[u8]) -> bool {
    let read = match from_json(bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(error.to_string().starts_with("cannot read the ComputeSDK result file: "), "{error}");
            return false;
        }
    };
    for (run, samples) in read {
        let succeeded = samples.iter().filter(|sample| sample.outcome.value().is_some()).count();
        for value in samples.iter().filter_map(|sample| sample.outcome.value()) {
            assert!(value.is_finite() && value >= 0.0, "{value}");
        }
        let written = serde_json::to_vec(&to_file(&run, &samples).unwrap()).unwrap();
        let again = from_json(&written).unwrap();
        assert_eq!(again.len(), 1);
        let (_, samples_again) = &again[0];
        assert_eq!(samples_again.len(), samples.len());
        assert_eq!(samples_again.iter().filter(|sample| sample.outcome.value().is_some()).count(), succeeded);
    }
    true
}
