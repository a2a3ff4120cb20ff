//! What is said of mappings that cannot be used: file, line, what is wrong, what is allowed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use proptest::prelude::*;
use virtmark_driver_endpoint::{Mapping, MappingError};

/// A mapping that can be used, whose parts the cases replace.
const GOOD: &str = r#"provider = "p"
base_path = "/v1"

[auth]
kind = "header"
name = "X-Key"

[create]
method = "POST"
path = "/m"
body = { cpus = "{vcpus}" }
answer = { sandbox_id = "/id" }

[exec]
method = "POST"
path = "/m/{sandbox_id}/run"
body = { argv = "{argv}" }
answer = { stdout = "/out", exit_code = "/code" }

[destroy]
method = "DELETE"
path = "/m/{sandbox_id}"
"#;

/// The error of the good mapping with one text replaced by another.
#[track_caller]
fn refused(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} is to be replaced");
    let error = Mapping::parse(&GOOD.replace(from, to), "my.toml").unwrap_err().to_string();
    error.strip_prefix("cannot use the mapping my.toml, line ").unwrap().to_owned()
}

#[test]
fn good_mappings_are_taken() {
    assert_eq!(Mapping::parse(GOOD, "my.toml").unwrap().provider(), "p");
    assert_eq!(Mapping::virtmark().unwrap().provider(), "sandbox");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/rest.toml");
    assert_eq!(Mapping::read(&example).unwrap().provider(), "example-rest");
}

#[test]
fn unknown_keys_are_told_with_what_is_allowed() {
    assert_eq!(
        refused("base_path", "basepath"),
        "2: unknown field `basepath`, expected one of `provider`, `base_path`, `auth`, `error`, `health`, `create`, \
         `exec`, `destroy`, `snapshot_create`, `snapshot_restore`, `snapshot_delete`, `inspect`, `put_file`, `get_file`"
    );
    assert_eq!(
        refused("stdout = ", "output = "),
        "18: unknown field `output`, expected one of `stdout`, `stderr`, `encoding`, `exit_code`, `timed_out`, \
         `stdout_bytes`, `stderr_bytes`, `duration`"
    );
    assert_eq!(
        refused("path = \"/m\"\n", "url = \"/m\"\n"),
        "10: unknown field `url`, expected one of `method`, `path`, `body`, `success`, `answer`, `poll`"
    );
}

#[test]
fn missing_parts_are_told() {
    assert_eq!(refused("provider = \"p\"\n", ""), "1: missing field `provider`");
    assert_eq!(
        refused("answer = { sandbox_id = \"/id\" }\n", ""),
        "10: create needs an [create.answer]: where its answer says what"
    );
    assert_eq!(refused("stdout = \"/out\", ", ""), "18: missing field `stdout`");
    assert_eq!(
        refused("/m/{sandbox_id}\"\n", "/m\"\n"),
        "22: neither the path nor the body says {sandbox_id}"
    );
    assert_eq!(
        refused("body = { argv = \"{argv}\" }\n", ""),
        "16: neither the path nor the body says {cmd} or {argv}"
    );
}

#[test]
fn bad_templates_are_told_with_what_is_allowed() {
    assert_eq!(
        refused("{vcpus}", "{cpus}"),
        "11: there is no placeholder {cpus} here; there are {image}, {lifetime_ms}, {lifetime_s}, {memory_bytes}, \
         {memory_mib}, {name}, {start}, {vcpus}"
    );
    assert_eq!(
        refused("body = { cpus = \"{vcpus}\" }", "[create.body]\na = 1\nb = [1, \"{vcpus\"]\n[create]"),
        // A table cannot be opened twice; what TOML itself refuses comes first.
        "14: duplicate key"
    );
    assert_eq!(
        refused("{vcpus}", "{vcpus"),
        "11: \"{vcpus\" has a brace without its partner; a brace that is meant is written twice"
    );
    assert_eq!(refused("\"{argv}\"", "\"run {argv}\""), "17: {argv} is no text: it must stand alone");
}

#[test]
fn values_that_cannot_be_are_told() {
    assert_eq!(
        refused("method = \"DELETE\"", "method = \"KILL\""),
        "21: there is no method \"KILL\"; there are DELETE, GET, PATCH, POST, PUT"
    );
    assert_eq!(
        refused("sandbox_id = \"/id\"", "sandbox_id = \"data.id\""),
        "12: \"data.id\" is no place in an answer: write it like \"/data/id\""
    );
    assert_eq!(refused("\"/v1\"", "\"v1/\""), "2: base_path begins with a slash and ends without one");
    assert_eq!(
        refused("\"/m\"\n", "\"m\"\n"),
        "10: a path begins with a slash and has no white space and no #"
    );
    assert_eq!(refused("\"p\"", "\" \""), "1: provider is the service's name on record; it cannot be empty");
    assert_eq!(refused("X-Key", "X Key"), "4: \"X Key\" cannot be the name of a header");
    assert_eq!(
        refused("\"header\"", "\"cookie\""),
        "5: unknown variant `cookie`, expected one of `bearer`, `header`, `none`"
    );
    assert_eq!(
        refused("path = \"/m\"\n", "path = \"/m\"\nsuccess = [200, 404]\n"),
        "11: success lists HTTP statuses from 200 to 299"
    );
    assert_eq!(
        refused("exit_code = \"/code\"", "exit_code = \"/code\", duration = { at = \"/t\", unit = \"min\" }"),
        "18: unknown variant `min`, expected one of `ms`, `ns`, `s`, `us`"
    );
    assert_eq!(
        refused("/m/{sandbox_id}\"\n", "/m/{sandbox_id}\"\nbody = {}\n"),
        "23: a DELETE request has no body"
    );
}

#[test]
fn what_does_not_fit_together_is_told() {
    let poll = "poll = { method = \"GET\", path = \"/m/{sandbox_id}\", at = \"/state\", interval_ms = 0 }\n";
    let with = |table: &str, poll: &str| refused(table, &format!("{table}{poll}"));
    assert_eq!(with("[create]\n", poll), "9: interval_ms is between 1 and 60000");
    assert_eq!(
        with("[exec]\n", &poll.replace("= 0", "= 5")),
        "15: only create and snapshot_restore can have a poll"
    );
    let snapshot = "[snapshot_create]\nmethod = \"POST\"\npath = \"/m/{sandbox_id}/s\"\nanswer = { snapshot_id = \"/id\" }\n";
    assert_eq!(
        refused("[destroy]\n", &format!("{snapshot}[destroy]\n")),
        "22: snapshot_create needs a snapshot_delete: without it every snapshot would be left behind"
    );
    let put = "[put_file]\nmethod = \"POST\"\npath = \"/m/{sandbox_id}/f\"\nbody = { path = \"{path}\" }\n";
    assert_eq!(
        refused("[destroy]\n", &format!("{put}[destroy]\n")),
        "23: the body of put_file says neither {content} nor {content_base64}; without a body the file is sent as it is"
    );
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let error = Mapping::read(Path::new("/nonexistent/my.toml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the mapping /nonexistent/my.toml: No such file"), "{error}");
}

proptest! {
    #[test]
    fn damage_anywhere_is_told_with_a_line_of_the_file(
        at in 0..GOOD.len(),
        length in 0usize..6,
        new in "[ -~\n\u{e9}]{0,4}",
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..GOOD.len().min(at + length), &new);
        if let Err(MappingError::Invalid { line, problem, .. }) = Mapping::parse(&text, "my.toml") {
            prop_assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {} of {:?}", line, text);
            prop_assert!(!problem.is_empty());
        }
    }
}
