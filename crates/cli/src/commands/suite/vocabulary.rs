//! What a step of a suite may say: the flags of the commands that measure, checked by the program's own definitions.

use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, CommandFactory, Parser};
use virtmark_suite::{Parameter, Problem, RawStep, Value, Vocabulary, same_key};

use crate::args::{Arguments, MEASURES};

/// Flags that are the suite's to give, with the reason.
const WITHHELD: [(&str, &str); 6] = [
    ("archive", "a suite has one archive: give it to `virtmark suite run`"),
    ("help", "it measures nothing"),
    ("quiet", "give it to `virtmark suite run`"),
    ("resume", "`virtmark suite run --resume` goes on with a suite"),
    ("token", "the file is kept and shown with its results: set VIRTMARK_TOKEN for `virtmark suite run`"),
    ("version", "it measures nothing"),
];

/// Commands whose warm-up is so many requests, and not machines.
const COUNT_REQUESTS: [&str; 1] = ["sweep"];

/// The program's commands.
pub(super) struct Commands {
    root: clap::Command,
}

impl Commands {
    pub(super) fn new() -> Self {
        let mut root = Arguments::command();
        // Flags that all commands share are known to each after this.
        root.build();
        Self { root }
    }

    /// The command that the words name, as deep as they do.
    fn find(&self, words: &[String]) -> Option<&clap::Command> {
        let mut command = self.root.find_subcommand(words.first()?)?;
        for word in &words[1..] {
            let Some(deeper) = command.find_subcommand(word) else { break };
            command = deeper;
        }
        Some(command)
    }

    /// What the parser says to a command line; nothing when it takes it.
    fn refusal(&self, words: &[String], flags: &[String]) -> Option<clap::Error> {
        Arguments::try_parse_from(super::command_line(&[words, flags].concat())).err()
    }

    /// The flags that a key stands for, or what is wrong with it.
    fn flags(
        &self,
        words: &[String],
        command: &clap::Command,
        parameter: &Parameter,
    ) -> Result<Vec<String>, Problem> {
        let Parameter { name, place, value, value_place } = parameter;
        let flag = argument(command, name).and_then(|argument| Some((argument, argument.get_long()?)));
        let Some((argument, long)) = flag else {
            let similar = self.similar(words, name).map_or_else(String::new, |similar| {
                format!(": did you mean {}?", similar.trim_start_matches('-').replace('-', "_"))
            });
            let message = format!("unknown key {name:?} of `{}`{similar}", words.join(" "));
            return Err(Problem::new(*place, message));
        };
        if let Some((_, why)) = WITHHELD.iter().find(|(withheld, _)| *withheld == long) {
            return Err(Problem::new(*place, format!("{name:?} is no key of a step: {why}")));
        }
        let flags = spelt(argument, long, value).map_err(|why| Problem::new(*value_place, why))?;
        if let Some(error) = self.refusal(words, &flags).filter(is_about_one) {
            return Err(Problem::new(*value_place, told(&error)));
        }
        Ok(flags)
    }

    /// The flag that the parser believes was meant.
    fn similar(&self, words: &[String], name: &str) -> Option<String> {
        let error = self.refusal(words, &[format!("--{}", name.replace('_', "-"))])?;
        match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(flag) => Some(flag.clone()),
            ContextValue::Strings(flags) => flags.first().cloned(),
            _ => None,
        }
    }
}

impl Vocabulary for Commands {
    fn arguments(&self, step: &RawStep) -> Result<Vec<String>, Vec<Problem>> {
        let words: Vec<String> = step.run.split_whitespace().map(Into::into).collect();
        let measures = words.first().is_some_and(|word| MEASURES.contains(&word.as_str()));
        let Some(command) = self.find(&words).filter(|_| measures) else {
            let message = format!("{:?} is no measurement: a step runs {}", step.run, MEASURES.join(", "));
            return Err(vec![Problem::new(step.run_place, message)]);
        };
        let (mut arguments, mut problems) = (words.clone(), Vec::new());
        let mut seen: Vec<(&str, &Parameter)> = Vec::new();
        for parameter in &step.parameters {
            let long = argument(command, &parameter.name).and_then(Arg::get_long);
            let twice = seen.iter().find(|(other, _)| Some(*other) == long);
            if let Some((long, first)) = twice {
                let message = format!("{long} is said in line {} already", first.place.line);
                problems.push(Problem::new(parameter.place, message));
                continue;
            }
            seen.extend(long.map(|long| (long, parameter)));
            match self.flags(&words, command, parameter) {
                Ok(flags) => arguments.extend(flags),
                Err(problem) => problems.push(problem),
            }
        }
        // What is wrong with several together can only be asked once each is right by itself.
        if problems.is_empty()
            && let Some(error) = self.refusal(&arguments, &[])
        {
            problems.push(Problem::new(step.run_place, told(&error)));
        }
        if problems.is_empty() { Ok(arguments) } else { Err(problems) }
    }

    fn warms_up(&self, run: &str) -> bool {
        let words: Vec<String> = run.split_whitespace().map(Into::into).collect();
        let command = self.find(&words).filter(|_| !COUNT_REQUESTS.contains(&run));
        command.is_some_and(|command| argument(command, "warmup").is_some())
    }

    fn duration(&self, text: &str) -> Result<Duration, String> {
        crate::duration::parse(text)
    }
}

/// The flag that a key names, however its words are joined: `warm_up` is `--warmup`.
fn argument<'c>(command: &'c clap::Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long().is_some_and(|long| same_key(long, key)))
}

/// A key and its value as the command line has them.
fn spelt(argument: &Arg, long: &str, value: &Value) -> Result<Vec<String>, String> {
    let takes_value = argument.get_action().takes_values();
    // A flag whose value may be left out.
    let optional = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
    Ok(match (value, takes_value) {
        (Value::Switch(true), false) => vec![format!("--{long}")],
        (Value::Switch(false), false) => Vec::new(),
        (_, false) => return Err(format!("--{long} is a switch: write true or false")),
        (Value::Switch(true), true) if optional => vec![format!("--{long}")],
        (Value::Switch(on), true) => vec![format!("--{long}={on}")],
        (Value::One(word), true) => vec![format!("--{long}={word}")],
        (Value::Many(words), true) if matches!(argument.get_action(), ArgAction::Append) => {
            words.iter().map(|word| format!("--{long}={word}")).collect()
        }
        (Value::Many(words), true) => vec![format!("--{long}={}", words.join(","))],
    })
}

/// Whether an error is about the one flag that was given, and not about others that it wants beside it, or does not.
fn is_about_one(error: &clap::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand
    )
}

/// What the parser says, on one line, without its advice about the command line.
fn told(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use virtmark_suite::{Suite, builtin_names, builtin_text};

    use super::*;

    fn suite(steps: &str) -> Result<Vec<String>, Vec<String>> {
        let text = format!("[suite]\nname = \"x\"\n{steps}");
        match Suite::parse(&text, &Commands::new()) {
            Ok(suite) => Ok(suite.steps.iter().map(|step| step.arguments.join(" ")).collect()),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn keys_are_the_flags_of_the_command() {
        let steps = suite(
            "[[step]]\nrun = \"tti\"\niterations = 5\nwarm_up = 1\nkernel_arg = [\"a=b\", \"-c\"]\ncmd = \"echo hi\"\n\
             [[step]]\nrun = \"sweep\"\nconcurrency = [1, 2]\nasync = true\nrandomise = false\nsync = false\n",
        );
        assert_eq!(
            steps.unwrap(),
            [
                "tti --iterations=5 --warmup=1 --kernel-arg=a=b --kernel-arg=-c --cmd=echo hi",
                "sweep --concurrency=1,2 --async",
            ]
        );
    }

    #[test]
    fn unknown_keys_and_bad_values_are_found_all_at_once() {
        let problems = suite(
            "[[step]]\nrun = \"tti\"\niteration = 5\nmode = \"brust\"\nstagger = \"soon\"\nvcpus = 0\n\
             archive = \"x\"\nwarmup = 1\nwarm_up = 2\nquiet = true\n\
             [[step]]\nrun = \"runs\"\n[[step]]\nrun = \"fly\"\n\
             [[step]]\nrun = \"sweep\"\nsync = 1\n",
        )
        .unwrap_err();
        for (problem, expected) in problems.iter().zip([
            "5:1: unknown key \"iteration\" of `tti`: did you mean iterations?",
            "6:8: invalid value 'brust' for '--mode <MODE>'",
            "7:11: invalid value 'soon' for '--stagger <TIME>'",
            "8:9: invalid value '0'",
            "9:1: \"archive\" is no key of a step",
            "11:1: warmup is said in line 10 already",
            "12:1: \"quiet\" is no key of a step",
            "14:7: \"runs\" is no measurement: a step runs tti",
            "16:7: \"fly\" is no measurement",
            "19:8: --sync is a switch",
        ]) {
            assert!(problem.starts_with(expected), "{problems:#?}");
        }
        assert_eq!(problems.len(), 10, "{problems:#?}");
    }

    #[test]
    fn what_does_not_go_together_is_told_of_the_step() {
        let problems = suite("[[step]]\nrun = \"tti\"\nrate = 2\n").unwrap_err();
        assert!(problems[0].starts_with("4:7: ") && problems[0].contains("--duration"), "{problems:#?}");
    }

    #[test]
    fn every_measurement_is_a_command_that_can_be_part_of_a_suite() {
        for name in MEASURES {
            // What it measures has to be said.
            let words = if name == "guest" { vec!["virtmark", name, "cpu"] } else { vec!["virtmark", name] };
            let mut parsed = Arguments::try_parse_from(words).unwrap();
            assert!(parsed.command.archive_mut().is_some(), "{name}");
        }
        let mut runs = Arguments::try_parse_from(["virtmark", "runs"]).unwrap();
        assert!(runs.command.archive_mut().is_none());
    }

    #[test]
    fn suites_that_are_built_in_are_sound_and_called_as_their_files() {
        for name in builtin_names() {
            let suite = Suite::parse(builtin_text(name).unwrap(), &Commands::new());
            assert_eq!(suite.unwrap().name, name);
        }
    }
}
