//! Any bytes as the manifest of a payload: findings say why it is none, or it reads the same when it was written again.

#![no_main]

use virtmark_payload::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (manifest, findings) = Manifest::parse(bytes);
    match manifest {
        Some(manifest) => {
            let written = toml::to_string(&manifest).expect("a manifest is TOML");
            assert_eq!(Manifest::parse(written.as_bytes()), (Some(manifest), Vec::new()), "{written}");
        }
        None => assert!(!findings.is_empty()),
    }
});
