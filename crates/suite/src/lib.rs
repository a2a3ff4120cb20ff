//! Suites: files that name measurements to make in one go, their order, and how they ended.
//!
//! [`Suite::parse`] reads the file and finds everything that is wrong with it, each with its line; what a step may say
//! is decided by a [`Vocabulary`], which knows the commands. [`Suite::schedule`] puts the steps in order, each as often
//! as asked. A suite that is run is a run itself, of the scenario [`SCENARIO`], with one sample for each step that
//! ended: [`SuiteReport`] reads them back, and says what is left to do.
//!
//! `docs/suite.md` describes the file.

mod builtin;
mod parse;
mod place;
mod raw;
mod report;
mod schedule;

pub use builtin::{builtin_names, builtin_text, named_again};
pub use parse::{Order, Step, Suite, Vocabulary, same_key};
pub use place::{Place, Problem};
pub use raw::{Parameter, RawStep, Value};
pub use report::{Ended, METRIC, SCENARIO, StepReport, SuiteReport, done, skipped, suite_of};
pub use schedule::Turn;
