use super::*;
use proptest::prelude::*;

/// Commands `tti` and `guest cpu`, with the key `iterations` and, of the first, `warmup`.
struct Known;

impl Vocabulary for Known {
    fn arguments(&self, step: &RawStep) -> Result<Vec<String>, Vec<Problem>> {
        if !["tti", "guest cpu"].contains(&step.run.as_str()) {
            return Err(vec![Problem::new(step.run_place, format!("unknown command {:?}", step.run))]);
        }
        let mut arguments: Vec<String> = step.run.split(' ').map(Into::into).collect();
        let mut problems = Vec::new();
        for Parameter { name, place, value, .. } in &step.parameters {
            match value {
                Value::One(text) if knows(&step.run, name) => arguments.push(format!("--{name}={text}")),
                _ => problems.push(Problem::new(*place, format!("unknown key {name:?}"))),
            }
        }
        if problems.is_empty() { Ok(arguments) } else { Err(problems) }
    }

    fn warms_up(&self, run: &str) -> bool {
        knows(run, WARM_UP)
    }

    fn duration(&self, text: &str) -> Result<Duration, String> {
        let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
        seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is not a duration"))
    }
}

fn knows(run: &str, key: &str) -> bool {
    same_key(key, "iterations") || (run == "tti" && same_key(key, "warmup"))
}

fn problems(text: &str) -> Vec<String> {
    Suite::parse(text, &Known).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_suite_is_read_with_its_defaults() {
    let suite = Suite::parse(
        "[suite]\nname = 'a b'\norder = 'random'\nseed = 0x10\nrepetitions = 2\nwarm_up = 3\ncool_down = '5s'\n\
         stop_on_failure = true\ntime_limit = '90s'\n\
         [[step]]\nrun = 'tti'\niterations = 10\n\
         [[step]]\nrun = 'guest cpu'\nlabel = 'cpu'\nrepetitions = 1\ncool_down = '1s'\n\
         [[step]]\nrun = 'tti'\nwarm_up = 0\n",
        &Known,
    )
    .unwrap();
    assert_eq!(suite.name, "a b");
    assert_eq!(suite.order, Order::Random { seed: Some(16) });
    assert_eq!((suite.stop_on_failure, suite.time_limit), (true, Some(Duration::from_secs(90))));
    let steps: Vec<_> = suite
        .steps
        .iter()
        .map(|step| {
            (step.label.as_str(), step.arguments.join(" "), step.repetitions.get(), step.cool_down.as_secs())
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("tti", "tti --iterations=10 --warm_up=3".into(), 2, 5),
            // Its command has no warm-up.
            ("cpu", "guest cpu".into(), 1, 1),
            ("tti 2", "tti --warm_up=0".into(), 2, 5),
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = "[suite]\nname = ''\nordre = 1\norder = 'up'\nseed = -1\nrepetitions = 0\ncool_down = 5\n\
                stop_on_failure = 1\nwarm_up = 'x'\ntime_limit = 9\n\
                [[step]]\nrun = 'ttj'\n\
                [[step]]\nrun = 'tti'\niteration = 5\nlabel = 'x'\nwhen = 2020-01-01\n\
                [[step]]\nlabel = 'x'\n\
                [[step]]\nrun = 'tti'\nlabel = 'x'\nlist = [[1]]\n\
                [other]\n";
    let found = problems(text);
    let lines: Vec<&str> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "15", "17", "18", "22", "23", "24"],
        "{found:#?}"
    );
    assert!(found[1].contains("unknown key \"ordre\": [suite] has name, order"), "{found:#?}");
    assert!(found[13].contains("taken by the step of line 16"), "{found:#?}");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let found = problems("[suite]\nname = \"x\"\n[[step]]\nrun = \n[[step]]\nrun = tti\n");
    assert!(found.iter().any(|problem| problem.starts_with("4:")), "{found:#?}");
    assert!(found.iter().any(|problem| problem.starts_with("6:")), "{found:#?}");
}

#[test]
fn an_empty_file_says_what_a_suite_needs() {
    let found = problems("");
    assert!(found[0].contains("[suite]") && found[1].contains("[[step]]"), "{found:#?}");
    assert_eq!(problems("[suite]\nname = 'x'\n[[step]]\nrun = 'tti'\nstep = []\n").len(), 1);
    assert_eq!(
        problems("[suite]\n[[step]]\nrun = 'tti'\n"),
        ["1:1: [suite] has no name: add name = \"...\""]
    );
    assert!(problems("step = []\n[suite]\nname = 'x'\n")[0].starts_with("1:8: there is no [[step]]"));
    assert!(problems("suite = 1\nstep = 2")[0].contains("write [suite]"));
}

#[test]
fn a_seed_needs_a_random_order() {
    let text = "[suite]\nname = 'x'\nseed = 4\n[[step]]\nrun = 'tti'\n";
    assert_eq!(problems(text), ["3:8: a seed is for order = \"random\": add that, or leave the seed out"]);
}

proptest! {
    #[test]
    fn whatever_the_file_nothing_breaks(text in "[a-z\\[\\]='\"\n{}, 0-9.#-]{0,200}") {
        if let Err(problems) = Suite::parse(&text, &Known) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.place.line >= 1));
        }
    }
}
