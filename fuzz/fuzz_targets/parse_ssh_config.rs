//! Any text as a configuration of SSH: it says something of every host, and what stands in front of it comes first.

#![no_main]

use std::path::Path;

use virtmark_fleet::ssh::ClientConfig;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (text, host) = input;
    let home = Path::new("/home/me");
    let names = [host, "10.0.0.1"];
    let told = ClientConfig::parse(text, home).told_of(&names);
    assert_eq!(ClientConfig::parse(&format!("# said twice\n{text}"), home).told_of(&names), told);
    let first = ClientConfig::parse(&format!("User first\nPort 7\n{text}"), home).told_of(&names);
    assert!(first.contains("user: Some(\"first\")") && first.contains("port: Some(7)"), "{first}");
});
