//! Who may ask.

use std::net::TcpListener;

use virtmark_sandbox::http::{HttpOptions, ServeError, Token};

use crate::client::{Reply, ask, exchange, get};
use crate::house::House;

fn guarded() -> House {
    House::with(|_| {}, |http| http.token = Token::new("s3cret"))
}

#[test]
fn without_the_token_only_the_health_is_told() {
    let house = guarded();
    assert_eq!(get(house.address, "/healthz").status, 200);
    for target in ["/sandboxes", "/metrics", "/openapi.json", "/nothing"] {
        let reply = get(house.address, target);
        assert_eq!((reply.status, reply.code().as_str()), (401, "unauthorized"), "{target}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let create = ask(house.address, "POST", "/create", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(create.status, 401);
    assert_eq!(house.machines(), 0);
}

#[test]
fn only_the_whole_token_opens() {
    let house = guarded();
    let status =
        |shown: &str| ask(house.address, "GET", "/sandboxes", &[("Authorization", shown)], b"").status;
    assert_eq!(status("Bearer s3cret"), 200);
    for wrong in ["Bearer s3cre", "Bearer s3crett", "Bearer ", "Basic s3cret", "s3cret", "Bearer \u{ff}"] {
        assert_eq!(status(wrong), 401, "{wrong}");
    }
    let twice = [("Authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")];
    assert_eq!(ask(house.address, "GET", "/sandboxes", &twice, b"").status, 401);
}

#[test]
fn without_a_token_no_page_of_another_name_comes_in() {
    let open = House::new();
    let asked = |house: &House, target: &str, host: &str| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Reply::parse(&exchange(house.address, bytes.as_bytes())).unwrap().0
    };
    for host in ["localhost:80", "127.0.0.1", "[::1]:80"] {
        assert_eq!(asked(&open, "/sandboxes", host).status, 200, "{host}");
    }
    let refused = asked(&open, "/sandboxes", "rebound.example");
    assert_eq!((refused.status, refused.code().as_str()), (403, "host_foreign"));
    assert_eq!(asked(&open, "/healthz", "rebound.example").status, 200);
    // With a token any name will do: no page knows it.
    assert_eq!(asked(&guarded(), "/sandboxes", "service.example").status, 401);
}

#[test]
fn a_token_that_is_not_asked_for_does_no_harm() {
    let house = House::new();
    let reply = ask(house.address, "GET", "/sandboxes", &[("Authorization", "Bearer x")], b"");
    assert_eq!(reply.status, 200);
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let error = HttpOptions::default().check(listener.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, ServeError::TokenMissing { .. }));
    assert!(error.to_string().contains("give a token"), "{error}");
}
