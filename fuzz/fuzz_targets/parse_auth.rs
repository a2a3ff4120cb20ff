//! Any bytes as an authentication file: it is refused in one line that has none of its secrets, or it names an account.

#![no_main]

use std::path::Path;

use virtmark_fleet::auth::{Auth, Method};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Auth::parse(bytes, Path::new("auth.json"), Some(Path::new("/home/me"))) {
        Ok(auth) => {
            assert!(!auth.user.is_empty());
            if let Method::Password { password } = &auth.method {
                assert_eq!(format!("{password:?}"), "Secret(...)");
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
