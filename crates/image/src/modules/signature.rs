//! The signature behind a module (Linux `include/linux/module_signature.h`): the signature, a record of twelve bytes
//! with its length, and a marker.
//!
//! A guest without lockdown loads unsigned modules, and checking a signature takes ten million instructions, several times
//! what the rest of loading a module takes. Only a kernel built to refuse unsigned modules (`MODULE_SIG_FORCE`) would
//! need them.

const MARKER: &[u8] = b"~Module signature appended~\n";
const RECORD_BYTES: usize = 12;

/// The module without its signature; all of it when there is none, or one that does not fit the file.
pub(super) fn strip(module: &[u8]) -> &[u8] {
    stripped(module).unwrap_or(module)
}

fn stripped(module: &[u8]) -> Option<&[u8]> {
    let (rest, record) = module.strip_suffix(MARKER)?.split_last_chunk::<RECORD_BYTES>()?;
    let [_, _, _, signer_bytes, key_bytes, _, _, _, length @ ..] = *record;
    let behind = u32::from_be_bytes(length) as usize + usize::from(signer_bytes) + usize::from(key_bytes);
    rest.get(..rest.len().checked_sub(behind)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signed(module: &[u8], signature: &[u8]) -> Vec<u8> {
        let mut file = [module, signature, &[0, 0, 2, 0, 0, 0, 0, 0]].concat();
        file.extend((signature.len() as u32).to_be_bytes());
        file.extend(MARKER);
        file
    }

    proptest! {
        #[test]
        fn the_module_comes_back(
            module in proptest::collection::vec(any::<u8>(), 0..100),
            signature in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let file = signed(&module, &signature);
            prop_assert_eq!(strip(&file), &module[..]);
        }

        #[test]
        fn any_record_before_the_marker_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let file = [&bytes[..], MARKER].concat();
            prop_assert!(file.starts_with(strip(&file)));
        }

        #[test]
        fn an_unsigned_module_is_left_alone(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(strip(&bytes), &bytes[..]);
        }
    }
}
