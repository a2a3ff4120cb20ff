//! Plan files that are broken: each message says what is wrong, where, and what to do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use virtmark_plan::Plan;

const SOUND: &str = r#"{
  "plan": "sound",
  "parameters": {"user_id": {"type": "int", "default": 1}},
  "nodes": {
    "rows": {"op": "source", "columns": [["id", "int"], ["title", "text"]], "rows": [[1, "a"], [2, "b"]]},
    "others": {"op": "source", "columns": [["title", "text"], ["id", "int"]], "rows": [["c", {"parameter": "user_id"}]]},
    "all": {"op": "concat", "inputs": ["rows", "others"]},
    "some": {"op": "regex_filter", "inputs": ["all"], "column": "title", "pattern": "[ab]"},
    "scored": {"op": "score", "inputs": ["some"], "weights": {"id": 2}},
    "first": {"op": "take", "inputs": ["scored"], "count": 10, "by": "score"}
  },
  "output": "first"
}"#;

#[test]
fn the_plan_that_is_broken_below_is_sound() {
    let plan = Plan::parse(SOUND).unwrap();
    assert_eq!(plan.schema().to_string(), "id int, title text, score float");
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    let mut differing = Vec::new();
    for (whole, broken, message) in [
        (
            "\"output\": \"first\"",
            "\"output\": \"first\",",
            "line 13, column 1: this is not JSON: trailing comma",
        ),
        (
            "\"by\": \"score\"}\n",
            "\"by\": \"score\", \"by\": \"id\"}\n",
            "line 10, column 82: this is not JSON: the key \"by\" is there twice in one object",
        ),
        (
            "[\"rows\", \"others\"]",
            "[\"rows\", \"others\", \"first\"]",
            "line 8, column 47: /nodes/some/inputs/0: the nodes wait for each other: some -> scored -> first -> all -> some; \
             take one of these inputs away",
        ),
        (
            "\"inputs\": [\"some\"]",
            "\"inputs\": [\"sone\"]",
            "line 9, column 42: /nodes/scored/inputs/0: there is no node \"sone\"; did you mean \"some\"?",
        ),
        (
            "\"count\": 10",
            "\"count\": \"ten\"",
            "line 10, column 60: /nodes/first/count: a whole number is expected, not a text",
        ),
        (
            "\"count\": 10",
            "\"count\": -1",
            "line 10, column 60: /nodes/first/count: -1 is out of range: a whole number from 0 to 1048576",
        ),
        (
            "\"count\": 10",
            "\"cuont\": 10",
            "line 10, column 51: /nodes/first/cuont: there is no key \"cuont\"; did you mean \"count\"?",
        ),
        (
            "\"count\": 10, ",
            "",
            "line 10, column 5: /nodes/first: \"count\" is missing; add it (how many rows)",
        ),
        (
            "\"column\": \"title\"",
            "\"column\": \"titel\"",
            "line 8, column 65: /nodes/some/column: there is no column \"titel\"; did you mean \"title\"?",
        ),
        (
            "\"column\": \"title\"",
            "\"column\": \"id\"",
            "line 8, column 65: /nodes/some/column: column \"id\" is of type int; text is needed here",
        ),
        (
            "\"weights\": {\"id\": 2}",
            "\"weights\": {\"title\": 2}",
            "line 9, column 72: /nodes/scored/weights/title: column \"title\" is of type text; int or float is needed \
             here",
        ),
        (
            "\"pattern\": \"[ab]\"",
            "\"pattern\": \"[ab\"",
            "line 8, column 85: /nodes/some/pattern: the pattern cannot be used: unclosed character class",
        ),
        (
            "\"op\": \"take\"",
            "\"op\": \"tkae\"",
            "line 10, column 21: /nodes/first/op: there is no operation \"tkae\"; did you mean \"take\"?",
        ),
        ("[2, \"b\"]", "[2]", "line 5, column 96: /nodes/rows/rows/1: the row has 1 values for 2 columns"),
        (
            "[2, \"b\"]",
            "[2.5, \"b\"]",
            "line 5, column 97: /nodes/rows/rows/1/0: a whole number of 64 bits is expected, not a number with a fraction",
        ),
        (
            "[\"title\", \"text\"], [\"id\", \"int\"]],",
            "[\"title\", \"text\"], [\"id\", \"float\"]],",
            "line 6, column 110: /nodes/others/rows/0/1/parameter: parameter \"user_id\" is of type int; float is needed here",
        ),
        (
            "[[\"title\", \"text\"], [\"id\", \"int\"]], \"rows\": [[\"c\", {\"parameter\": \"user_id\"}]]",
            "[[\"title\", \"text\"]], \"rows\": []",
            "line 7, column 48: /nodes/all/inputs/1: \"others\" has other columns (title text) than \"rows\" (id int, \
             title text); concat needs the same names and types",
        ),
        (
            "[\"rows\", \"others\"]",
            "[\"rows\"]",
            "line 6, column 5: /nodes/others: its rows go nowhere; make \"others\" the input of another node, or the output, \
             or remove it",
        ),
        (
            "\"inputs\": [\"scored\"]",
            "\"inputs\": [\"scored\", \"scored\"]",
            "line 10, column 39: /nodes/first/inputs: take takes exactly one input, not 2",
        ),
        (
            "\"weights\": {\"id\": 2}",
            "\"weights\": {\"id\": 2}, \"column\": \"id\"",
            "line 9, column 83: /nodes/scored/column: there is a column \"id\" already; choose another name",
        ),
        (
            "\"user_id\": {\"type\"",
            "\"user id\": {\"type\"",
            "line 3, column 18: /parameters/user id: \"user id\" is no name; use letters, digits, `_` and `-`, at most 64 \
             of them",
        ),
    ] {
        let text = SOUND.replacen(whole, broken, 1);
        assert_ne!(text, SOUND, "{whole} is not in the plan");
        let told = Plan::parse(&text).unwrap_err().to_string();
        if told != message {
            differing.push(format!("told:     {told}\nexpected: {message}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_plan_may_be_nothing_at_all() {
    for (text, message) in [
        ("", "line 1, column 1: this is not JSON: EOF while parsing a value"),
        ("[]", "line 1, column 1: the plan: an object is expected, not an array"),
        ("{}", "line 1, column 1: the plan: \"plan\" is missing; add it (a name)"),
        (
            "{\"plan\": \"x\", \"nodes\": {}, \"output\": \"y\"}",
            "line 1, column 24: /nodes: there are no nodes; a plan needs at least one",
        ),
    ] {
        assert_eq!(Plan::parse(text).unwrap_err().to_string(), message);
    }
    // Deeper than any plan: an error, and no overflow of the stack.
    assert!(Plan::parse(&"[".repeat(100_000)).unwrap_err().to_string().contains("recursion limit exceeded"));
}

#[test]
fn a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.json");
    std::fs::write(&path, "{\n  \"plan\": 7}").unwrap();
    let message = Plan::from_file(&path).unwrap_err().to_string();
    assert_eq!(message, format!("{}:2:11: /plan: a text is expected, not a number", path.display()));
    let missing = Plan::from_file(Path::new("/nowhere/plan.json")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/plan.json:1:1: cannot read the plan: No such file"), "{missing}");
}

#[test]
fn the_plan_in_the_documentation_is_sound() {
    let page = include_str!("../../../docs/plan.md");
    let (_, behind) = page.split_once("```json\n").unwrap();
    let plan = Plan::parse(behind.split_once("```").unwrap().0).unwrap();
    assert_eq!((plan.name(), plan.schema().to_string().as_str()), ("followed", "author_id int, made_at int"));
}
