//! The service is held to its own OpenAPI document by schemathesis, which is a program of its own.

use std::path::Path;
use std::process::Command;

use virtmark_sandbox::Options;
use virtmark_sandbox::http::Token;

use crate::client::get;
use crate::house::House;

fn hold(house: &House, token: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.sh");
    let status =
        Command::new(script).arg(format!("http://{}", house.address)).env("TOKEN", token).status().unwrap();
    assert!(status.success(), "schemathesis found something: {status}");
    assert_eq!(get(house.address, "/healthz").json()["status"], "ok");
}

/// No limit of the service is in the way.
fn roomy(limits: &mut Options) {
    (limits.max_sandboxes, limits.total_vcpus, limits.total_memory_mib) = (1 << 20, 1 << 30, 1 << 40);
}

#[test]
#[ignore = "needs schemathesis, which comes with Python"]
fn the_service_keeps_to_its_document() {
    hold(&House::with(roomy, |_| {}), "");
}

#[test]
#[ignore = "needs schemathesis, which comes with Python"]
fn the_service_keeps_to_its_document_with_a_token() {
    hold(&House::with(roomy, |http| http.token = Token::new("s3cret")), "s3cret");
}
