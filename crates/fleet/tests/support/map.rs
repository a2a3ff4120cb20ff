//! What must hold for any map of machines.

use virtmark_fleet::map::HostMap;

/// It is refused in one line, or the same when it is written and read again, in both forms.
pub(crate) fn check_any_map(bytes: &[u8]) {
    let read = |bytes: &[u8]| HostMap::from_bytes(bytes, "map");
    match read(bytes) {
        Ok(map) => {
            assert!(!map.machines().is_empty());
            let json = serde_json::to_vec(&map).expect("text and numbers are always JSON");
            for written in [map.to_string().into_bytes(), json] {
                assert_eq!(read(&written).ok().as_ref(), Some(&map));
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}
