//! Reading a suite file, and everything that is wrong with it at once.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::raw::integer;
use crate::{Parameter, Place, Problem, RawStep, Value};

/// Keys of `[suite]`.
const SUITE_KEYS: [&str; 8] =
    ["name", "order", "seed", "repetitions", "warm_up", "cool_down", "stop_on_failure", "time_limit"];
/// Keys of a step that are not its command's.
const STEP_KEYS: [&str; 4] = ["run", "label", "repetitions", "cool_down"];
/// The key of a step that [`Suite::warm_up`] stands for.
const WARM_UP: &str = "warm_up";
/// A name stands in file names, tables and labels.
const LONGEST_NAME: usize = 64;

/// What a step may say. A suite file does not know the commands; whoever runs them does.
pub trait Vocabulary {
    /// The arguments of the program that a step asks for, its words first, or everything that is wrong with it.
    ///
    /// # Errors
    /// All problems, in any order.
    fn arguments(&self, step: &RawStep) -> Result<Vec<String>, Vec<Problem>>;

    /// Whether the command of a step has a `warm_up`, and means machines by it.
    fn warms_up(&self, run: &str) -> bool;

    /// A duration as the command line takes it: `90s`.
    ///
    /// # Errors
    /// Why it is none.
    fn duration(&self, text: &str) -> Result<Duration, String>;
}

/// A suite that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// How steps and their repetitions follow each other.
    pub order: Order,
    /// Whether the first step that fails ends it.
    pub stop_on_failure: bool,
    /// After so long no further step is begun.
    pub time_limit: Option<Duration>,
    /// What is measured, in the order of the file; never empty.
    pub steps: Vec<Step>,
}

/// How steps and their repetitions follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each step with all its repetitions, then the next: A A B B.
    Given,
    /// All steps, then all of them again: A B A B.
    Interleaved,
    /// Shuffled, the same for the same seed. None is one that is drawn when the suite is run.
    Random {
        /// Decides the order.
        seed: Option<u64>,
    },
}

/// A step that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called; no two steps share it.
    pub label: String,
    /// Arguments of the program, its name not among them.
    pub arguments: Vec<String>,
    /// How often it is run.
    pub repetitions: NonZeroU32,
    /// Time without work after it.
    pub cool_down: Duration,
}

impl Suite {
    /// Reads a suite file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str, vocabulary: &dyn Vocabulary) -> Result<Self, Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader { text, vocabulary, problems: Vec::new() };
        for error in errors {
            let offset = error.span().map_or(text.len(), |span| span.start);
            reader.problems.push(Problem::new(Place::of(text, offset), error.message().trim()));
        }
        let suite = reader.suite(document.get_ref());
        let mut problems = reader.problems;
        problems.sort_by_key(|problem| problem.place);
        problems.dedup();
        match suite {
            Some(suite) if problems.is_empty() => Ok(suite),
            _ => Err(problems),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    vocabulary: &'a dyn Vocabulary,
    problems: Vec<Problem>,
}

/// What holds for steps that do not say otherwise.
struct Defaults {
    repetitions: NonZeroU32,
    cool_down: Duration,
    warm_up: Option<(String, Place)>,
}

impl Reader<'_> {
    fn suite(&mut self, document: &DeTable<'_>) -> Option<Suite> {
        for (key, _) in document.iter() {
            if !["suite", "step"].contains(&key.get_ref().as_ref()) {
                self.say(
                    &key.span(),
                    format!("unknown table {:?}: a suite has [suite] and [[step]]", key.get_ref()),
                );
            }
        }
        let empty = DeTable::new();
        let (head, name) = match document.get("suite").map(|value| (value, value.get_ref())) {
            Some((value, DeValue::Table(table))) => (table, self.name(table, &value.span())),
            Some((value, _)) => {
                self.say(&value.span(), "suite is a table: write [suite]");
                (&empty, None)
            }
            None => {
                self.say(&(0..0), "there is no [suite]: add one, with the suite's name");
                (&empty, None)
            }
        };
        let order = self.order(head);
        let repetitions = self.count(head, "repetitions").unwrap_or(NonZeroU32::MIN);
        let cool_down = self.duration(head, "cool_down").unwrap_or_default();
        let warm_up = head.get(WARM_UP).and_then(|value| match self.number(value) {
            Some(number) => Some((number.to_string(), self.place(&value.span()))),
            None => {
                self.say(&value.span(), "warm_up is a whole number from 0");
                None
            }
        });
        let stop_on_failure = match head.get("stop_on_failure").map(|value| (value, value.get_ref())) {
            None => false,
            Some((_, DeValue::Boolean(stop))) => *stop,
            Some((value, _)) => {
                self.say(&value.span(), "stop_on_failure is true or false");
                false
            }
        };
        let time_limit = self.duration(head, "time_limit");
        self.unknown(head, &SUITE_KEYS, "[suite]");
        let defaults = Defaults { repetitions, cool_down, warm_up };
        let steps = self.steps(document, &defaults);
        Some(Suite { name: name?, order: order?, stop_on_failure, time_limit, steps: steps? })
    }

    fn name(&mut self, head: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
        let Some(value) = head.get("name") else {
            self.say(span, "[suite] has no name: add name = \"...\"");
            return None;
        };
        match value.get_ref() {
            DeValue::String(name) if is_name(name) => Some(name.clone().into_owned()),
            _ => {
                let message =
                    format!("a name is 1 to {LONGEST_NAME} letters, digits, blanks and any of - _ . : / + =");
                self.say(&value.span(), message);
                None
            }
        }
    }

    fn order(&mut self, head: &DeTable<'_>) -> Option<Order> {
        let seed = head.get("seed").and_then(|value| {
            let seed = self.number(value);
            if seed.is_none() {
                self.say(&value.span(), "a seed is a whole number from 0");
            }
            seed
        });
        let order = match head.get("order").map(|value| (value, value.get_ref())) {
            None => Order::Given,
            Some((_, DeValue::String(word))) if word == "given" => Order::Given,
            Some((_, DeValue::String(word))) if word == "interleaved" => Order::Interleaved,
            Some((_, DeValue::String(word))) if word == "random" => Order::Random { seed },
            Some((value, _)) => {
                self.say(&value.span(), "order is \"given\", \"interleaved\" or \"random\"");
                return None;
            }
        };
        if let (Some(value), false) = (head.get("seed"), matches!(order, Order::Random { .. })) {
            self.say(&value.span(), "a seed is for order = \"random\": add that, or leave the seed out");
        }
        Some(order)
    }

    fn steps(&mut self, document: &DeTable<'_>, defaults: &Defaults) -> Option<Vec<Step>> {
        let nothing = "there is no [[step]]: add one, with run = \"tti\" for example";
        let Some(value) = document.get("step") else {
            self.problems.push(Problem::new(Place::of(self.text, self.text.len()), nothing));
            return None;
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.say(&value.span(), "step is a list of tables: write [[step]]");
            return None;
        };
        if items.is_empty() {
            self.say(&value.span(), nothing);
        }
        let mut labels: Vec<(String, Place)> = Vec::new();
        let steps: Vec<Option<Step>> =
            items.iter().map(|item| self.step(item, defaults, &mut labels)).collect();
        steps.into_iter().collect()
    }

    fn step(
        &mut self,
        item: &Spanned<DeValue<'_>>,
        defaults: &Defaults,
        labels: &mut Vec<(String, Place)>,
    ) -> Option<Step> {
        let place = self.place(&item.span());
        let DeValue::Table(table) = item.get_ref() else {
            self.say(&item.span(), "a step is a table: write [[step]]");
            return None;
        };
        let repetitions = self.count(table, "repetitions").unwrap_or(defaults.repetitions);
        let cool_down = self.duration(table, "cool_down").unwrap_or(defaults.cool_down);
        let mut parameters = self.parameters(table);
        let run = match table.get("run").map(|value| (value, value.get_ref())) {
            Some((value, DeValue::String(run))) => (run.clone().into_owned(), self.place(&value.span())),
            Some((value, _)) => {
                self.say(&value.span(), "run is a command with its words, such as \"tti\"");
                return None;
            }
            None => {
                self.problems
                    .push(Problem::new(place, "this step has no run: add run = \"tti\" for example"));
                return None;
            }
        };
        if let Some((value, value_place)) = &defaults.warm_up
            && !parameters.iter().any(|parameter| same_key(&parameter.name, WARM_UP))
            && self.vocabulary.warms_up(&run.0)
        {
            parameters.push(Parameter {
                name: WARM_UP.into(),
                place: *value_place,
                value: Value::One(value.clone()),
                value_place: *value_place,
            });
        }
        let label = self.label(table, &run.0, labels);
        let raw = RawStep { place, run: run.0, run_place: run.1, parameters };
        match self.vocabulary.arguments(&raw) {
            Ok(arguments) => Some(Step { label: label?, arguments, repetitions, cool_down }),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    /// The label that the step gives itself, or its command; of several steps with the same command, numbered.
    fn label(&mut self, table: &DeTable<'_>, run: &str, labels: &mut Vec<(String, Place)>) -> Option<String> {
        let Some(value) = table.get("label") else {
            let taken = |label: &str| labels.iter().any(|(other, _)| other == label);
            let mut label = run.split_whitespace().collect::<Vec<_>>().join(" ");
            let (base, mut number) = (label.clone(), 2);
            while taken(&label) {
                label = format!("{base} {number}");
                number += 1;
            }
            labels.push((label.clone(), Place { line: 0, column: 0 }));
            return Some(label);
        };
        let place = self.place(&value.span());
        let label = match value.get_ref() {
            DeValue::String(label) if is_name(label) => label.clone().into_owned(),
            _ => {
                let message = format!(
                    "a label is 1 to {LONGEST_NAME} letters, digits, blanks and any of - _ . : / + ="
                );
                self.say(&value.span(), message);
                return None;
            }
        };
        if let Some((_, first)) = labels.iter().find(|(other, _)| *other == label) {
            let message = match first.line {
                0 => format!("an earlier step is called {label:?} by itself: give one of them another label"),
                line => format!("the label {label:?} is taken by the step of line {line}: give another"),
            };
            self.problems.push(Problem::new(place, message));
            return None;
        }
        labels.push((label.clone(), place));
        Some(label)
    }

    fn parameters(&mut self, table: &DeTable<'_>) -> Vec<Parameter> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut parameters = Vec::new();
        for (key, value) in entries {
            if STEP_KEYS.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let value_place = self.place(&value.span());
            match Value::of(value.get_ref(), value_place) {
                Ok(of) => parameters.push(Parameter {
                    name: key.get_ref().clone().into_owned(),
                    place: self.place(&key.span()),
                    value: of,
                    value_place,
                }),
                Err(problem) => self.problems.push(problem),
            }
        }
        parameters
    }

    fn count(&mut self, table: &DeTable<'_>, key: &str) -> Option<NonZeroU32> {
        let value = table.get(key)?;
        let count =
            self.number(value).and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new);
        if count.is_none() {
            self.say(&value.span(), format!("{key} is a whole number from 1"));
        }
        count
    }

    fn duration(&mut self, table: &DeTable<'_>, key: &str) -> Option<Duration> {
        let value = table.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.say(&value.span(), format!("{key} is a time with its unit, such as \"10s\""));
            return None;
        };
        match self.vocabulary.duration(text) {
            Ok(duration) => Some(duration),
            Err(why) => {
                self.say(&value.span(), why);
                None
            }
        }
    }

    fn number(&self, value: &Spanned<DeValue<'_>>) -> Option<u64> {
        match value.get_ref() {
            DeValue::Integer(number) => integer(number).and_then(|number| u64::try_from(number).ok()),
            _ => None,
        }
    }

    fn unknown(&mut self, table: &DeTable<'_>, known: &[&str], whose: &str) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let message = format!("unknown key {:?}: {whose} has {}", key.get_ref(), known.join(", "));
            self.say(&key.span(), message);
        }
    }

    fn say(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let place = self.place(span);
        self.problems.push(Problem::new(place, message));
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.text, span.start)
    }
}

/// Whether two names are the same flag, however its words are joined: `warm_up`, `warm-up`, `warmup`.
pub fn same_key(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.chars().filter(|letter| !"-_".contains(*letter)).collect::<String>();
    letters(one) == letters(other)
}

fn is_name(name: &str) -> bool {
    let allowed = |letter: char| letter.is_alphanumeric() || " -_.:/+=".contains(letter);
    (1..=LONGEST_NAME).contains(&name.chars().count()) && name.chars().all(allowed) && name.trim() == name
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
