//! Any bytes in the body of a request.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/requests.rs"]
mod requests;

use proptest::prelude::*;

use requests::check_any_body;

/// Good requests of each kind.
fn bodies() -> Vec<String> {
    let digits = "0123456789abcdef0123456789abcdef";
    let (sandbox, snapshot) = (format!("sb-{digits}"), format!("sn-{digits}"));
    vec![
        r#"{"image":"tiny","vcpus":2,"memory_mib":256,"disk_mib":8,"env":{"A":"1"},"timeout_s":60,"metadata":{"k":"v"},"start":"warm"}"#.into(),
        format!(
            r#"{{"sandbox_id":"{sandbox}","cmd":"cat","timeout_ms":50,"stdin":"a","env":{{"B":"2"}},"encoding":"base64"}}"#
        ),
        format!(r#"{{"sandbox_id":"{sandbox}"}}"#),
        format!(r#"{{"sandbox_id":"{sandbox}","name":"kept"}}"#),
        format!(r#"{{"snapshot_id":"{snapshot}","env":{{"C":"3"}},"timeout_s":9,"metadata":{{"k":"v"}}}}"#),
        format!(r#"{{"snapshot_id":"{snapshot}"}}"#),
    ]
}

#[test]
fn good_requests_are_taken() {
    for body in bodies() {
        assert!(check_any_body(body.as_bytes()) > 0, "{body}");
    }
}

proptest! {
    #[test]
    fn changed_requests_are_taken_or_refused(
        which in 0usize..6,
        from: prop::sample::Index,
        length in 0usize..12,
        with in prop_oneof!["[ -~]{0,12}", "(\\.\\./){1,3}", "\\\\u00[0-1][0-9a-f]", "-?[0-9]{1,25}(e[0-9]{1,3})?"],
    ) {
        let mut body = bodies()[which].clone().into_bytes();
        let from = from.index(body.len());
        let to = (from + length).min(body.len());
        body.splice(from..to, with.into_bytes());
        check_any_body(&body);
    }

    #[test]
    fn any_bytes_are_refused_or_taken(bytes: Vec<u8>) {
        check_any_body(&bytes);
    }
}
