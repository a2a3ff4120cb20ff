//! What holds for every document.

use std::time::{Duration, Instant};

use virtmark_model::{FailureClass, Outcome, Run, Sample};

use super::{Options, figures, report};
use crate::markup::checker;
use crate::{ReportError, RunSamples, fixtures, notes};

fn document(runs: &[RunSamples]) -> String {
    let html = report(
        runs,
        &Options { title: None, generated_at: "2026-01-03T00:00:00Z".parse().unwrap(), suite: None },
    )
    .unwrap();
    let well_formed = html.strip_prefix("<!DOCTYPE html>\n").expect("documents start with their type");
    assert_eq!(checker::check(well_formed), Ok(()));
    html
}

fn emulated(samples: Vec<Sample>) -> RunSamples {
    RunSamples::new(fixtures::run("tti", 0, fixtures::tcg()), samples)
}

fn with_hostile_names(text: &str) -> RunSamples {
    let mut run: Run = fixtures::run("tti", 0, fixtures::tcg());
    run.scenario = text.into();
    run.environment.hypervisor.name = text.into();
    run.environment.host.cpu_model = text.into();
    run.environment.host.cpu_flags = vec![text.into(); 50];
    run.configuration = serde_json::json!({ text: text, "command_line": text });
    let mut samples = fixtures::tti_samples(1, 3);
    for sample in &mut samples {
        sample.metric = text.into();
        sample.labels = [(text.to_owned(), text.to_owned())].into();
        sample.phases.iter_mut().for_each(|phase| phase.name = text.to_owned().into());
    }
    samples.push(fixtures::failure(3, text, FailureClass::Other, text));
    samples.push(fixtures::skip(4, text, text));
    RunSamples::new(run, samples)
}

#[test]
fn the_body_of_a_small_report() {
    let mut run = emulated(fixtures::tti_samples(4, 6));
    run.samples.push(fixtures::failure(6, "tti", FailureClass::GuestPanic, "panic"));
    let html = document(&[run]);
    let body = html.split("</head>").nth(1).unwrap();
    let start = body.find("base64,").unwrap();
    let end = start + body[start..].find('"').unwrap();
    insta::assert_snapshot!(format!("{}{}", &body[..start], &body[end..]).replace("><", ">\n<"));
}

#[test]
fn names_from_elsewhere_never_become_markup() {
    let html = document(&[with_hostile_names("<script>alert(\"1\")</script><img src='http://x/'>")]);
    assert!(!html.contains("<script") && !html.contains("<img"));
    document(&[with_hostile_names("</title></style>--><!-- &amp; ]]>\u{0}\u{1b}[2J\r\n\t\u{ffff}")]);
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let html = document(&[emulated(fixtures::tti_samples(1, 30))]);
    for sign in ["http://", "https://", "<script", "<link", "<iframe", "@import", "url(", " src="] {
        assert!(!html.contains(sign), "{sign}");
    }
    assert!(html.contains("default-src &#39;none&#39;"));
}

#[test]
fn emulation_is_said_wherever_figures_are_and_only_then() {
    let html = document(&[emulated(fixtures::tti_samples(1, 30))]);
    let banner = html.split("class=\"banner\"").nth(1).unwrap();
    assert!(banner.split("</p>").next().unwrap().contains("Software emulation (TCG): compare"));
    for figure in html.split("<figure>").skip(1) {
        assert!(figure.split("</figure>").next().unwrap().contains("Software emulation (TCG)"));
    }
    let virtualised = RunSamples::new(fixtures::run("tti", 1, fixtures::kvm()), fixtures::tti_samples(1, 30));
    assert!(!document(std::slice::from_ref(&virtualised)).contains("emulation"));
    let mixed = document(&[emulated(fixtures::tti_samples(1, 30)), virtualised]);
    assert!(mixed.contains("Emulated here: A.") && mixed.contains(notes::MIXED));
}

#[test]
fn one_sample_has_figures_and_says_what_it_cannot_support() {
    let html = document(&[emulated(fixtures::tti_samples(1, 1))]);
    assert!(html.contains(notes::NO_INTERVAL) && html.contains(notes::UNSUPPORTED) && html.contains("<path"));
}

#[test]
fn a_run_in_which_everything_failed_shows_no_figure() {
    let samples =
        (0..4).map(|seq| fixtures::failure(seq, "tti", FailureClass::Timeout, "no answer")).collect();
    let html = document(&[emulated(samples)]);
    assert!(html.contains("4 failed: 4 timeout.") && !html.contains("<svg"));
    assert!(html.contains("timeout: no answer"));
}

#[test]
fn an_empty_run_is_a_report_and_no_runs_are_none() {
    assert!(document(&[emulated(vec![])]).contains("Nothing was measured."));
    assert!(matches!(report(&[], &Options::default()), Err(ReportError::NoRuns)));
}

#[test]
fn differing_conditions_are_marked_and_every_sample_is_there() {
    let one = emulated(fixtures::tti_samples(1, 3));
    let mut two = emulated(fixtures::tti_samples(2, 5));
    two.run.environment.host.kernel = "6.2.0-synthetic".into();
    let values: Vec<String> = two
        .samples
        .iter()
        .map(|sample| match sample.outcome {
            Outcome::Success { value } => format!(">{value}<"),
            _ => unreachable!("made-up samples succeed"),
        })
        .collect();
    let html = document(&[one, two]);
    assert!(html.contains("≠ Kernel") && html.contains("differ in one condition"));
    assert!(values.iter().all(|value| html.contains(value)));
}

/// Generous, because tests are not optimised and share their machine; a quadratic report would take minutes.
#[test]
fn ten_thousand_samples_take_a_moment() {
    let run = emulated(fixtures::tti_samples(3, 10_000));
    let started = Instant::now();
    let html = report(&[run], &Options::default()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let drawn = html.split("<svg").nth(1).unwrap().split("</svg>").next().unwrap().len();
    assert!(drawn < 40_000, "{drawn} bytes");
    assert_eq!(html.matches("machine=m").count(), 10_000);
}

#[test]
fn runs_are_named_by_how_their_machines_were_started() {
    let runs: Vec<RunSamples> = ["cold", "template", "warm"]
        .into_iter()
        .zip(0u32..)
        .map(|(start, number)| {
            let samples = fixtures::started_samples(start, u64::from(number) + 1, 12);
            RunSamples::new(fixtures::run("tti", number, fixtures::tcg()), samples)
        })
        .collect();
    let page = document(&runs);
    for name in ["A qemu cold, tti-", "B qemu template, tti-", "C qemu warm, tti-"] {
        // In the legend of the distributions, and twice in the waterfall.
        assert!(page.matches(name).count() >= 3, "{name}");
    }
    assert!(page.contains("tti in ms, logarithmic") || page.contains("tti in s, logarithmic"));
    assert_eq!(figures(&runs).unwrap().len(), 2);
}

#[test]
fn a_run_of_several_starts_is_a_curve_for_each() {
    let mut samples = fixtures::started_samples("warm", 1, 8);
    samples.extend(fixtures::started_samples("template", 2, 3));
    let run = RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), samples);
    let page = document(&[run]);
    assert!(page.contains("warm, tti-20260102-030405-a1b2c3: n = 8"));
    assert!(page.contains("template, tti-20260102-030405-a1b2c3: n = 3"));
}

#[test]
fn concurrent_runs_have_a_ramp_and_others_none() {
    let page = |mode: &str| {
        let mut run = fixtures::run("tti", 0, fixtures::kvm());
        run.configuration["mode"] = mode.into();
        let samples = fixtures::launched(fixtures::tti_samples(1, 12), 1_000_000);
        document(&[RunSamples::new(run, samples)])
    };
    for mode in ["burst", "staggered", "open_loop"] {
        let page = page(mode);
        assert!(page.contains(&format!("a1b2c3: {}</text>", mode.replace('_', " "))), "{mode}");
        assert!(page.contains("m8: launched at 8.000 ms, never ready"), "{mode}");
        assert_eq!(page.contains("moment that was intended"), mode == "open_loop");
    }
    assert!(!page("sequential").contains("Ramp of"));
}

#[test]
fn what_a_scenario_has_to_say_is_a_section() {
    let mut run = emulated(fixtures::tti_samples(1, 3));
    let mut table = crate::table::Table::new("Failures <by> step");
    table.column("step", crate::table::Column::Name).column("failures", crate::table::Column::Figure);
    table.row(vec!["destroy".into(), crate::table::Cell::from("2").tone(crate::Tone::Bad)]);
    table.note("Counted.", crate::Tone::Faint);
    run.tables.push(table);
    let page = document(&[run]);
    assert!(page.contains("<h2>Failures &lt;by&gt; step</h2>"));
    assert!(page.contains("<td class=\"figure bad\">2</td>") && page.contains("<li>Counted.</li>"));
}
