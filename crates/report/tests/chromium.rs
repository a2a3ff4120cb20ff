//! The report in a real browser: it says nothing on the console, and asks nobody for anything.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "synthetic/mod.rs"]
mod synthetic;
#[path = "synthetic/suite.rs"]
mod synthetic_suite;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use virtmark_report::html::{self, Options};

/// Names that the browser goes by.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// The page's own address. Every name is looked up by the proxy, which is this test.
const PAGE: &str = "http://report.test/";
/// What browsers want of any site.
const ICON: &str = "http://report.test/favicon.ico";
/// What the browser asks for its own sake, whatever the page: updates, the time, an account. Fonts are not among it.
const OWN: [&str; 8] = [
    "accounts.google.com",
    "android.clients.google.com",
    "clients2.google.com",
    "content-autofill.googleapis.com",
    "optimizationguide-pa.googleapis.com",
    "redirector.gvt1.com",
    "safebrowsing.googleapis.com",
    "update.googleapis.com",
];
/// What keeps it from some of that.
const OFF: [&str; 7] = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
];

#[test]
fn the_browser_has_nothing_to_complain_of_and_loads_nothing_from_elsewhere() {
    let Some(program) = browser() else { return };
    let (runs, suite) = synthetic_suite::suite();
    let page = html::report(&runs, &Options { suite: Some(suite), ..Options::default() }).unwrap();
    let seen = open(program, page);
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert_eq!(seen.asked, [PAGE]);
    // It was drawn to its end, as elements and not as text.
    for expected in
        ["Steps of the suite", "Platforms", "Overhead", "Live migration", "How to repeat the suite"]
    {
        assert!(seen.document.contains(&format!("<h2>{expected}</h2>")), "{expected}");
    }
    assert!(seen.document.trim_end().ends_with("</html>"));
}

#[test]
fn what_would_be_wrong_is_found() {
    let Some(program) = browser() else { return };
    let page = "<!DOCTYPE html><html><body><img src=\"http://elsewhere.test/picture.png\" alt=\"\">\
                <script>console.error('it is wrong')</script></body></html>";
    let seen = open(program, page.into());
    assert!(seen.complaints.iter().any(|line| line.contains("it is wrong")), "{:?}", seen.complaints);
    assert!(seen.asked.iter().any(|url| url.contains("elsewhere.test")), "{:?}", seen.asked);
}

/// What a browser made of a page.
struct Seen {
    /// Lines of the console.
    complaints: Vec<String>,
    /// Every address that the page made it ask for, in order.
    asked: Vec<String>,
    /// The document as it stands in the end.
    document: String,
}

/// The browser; none where there is none, unless the tests run where everything has to be.
fn browser() -> Option<&'static str> {
    let runs = |program: &&&str| {
        let version =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = PROGRAMS.iter().find(runs).copied();
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no browser, where all tests have to run: apt-get install chromium"
        );
        eprintln!("skipped: there is no browser here; apt-get install chromium");
    }
    found
}

fn open(program: &str, page: String) -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("--proxy-server=http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    thread::spawn({
        let asked = Arc::clone(&asked);
        move || listener.incoming().flatten().for_each(|stream| answer(stream, &page, &asked))
    });
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
        .args(OFF)
        .args([&proxy, "--proxy-bypass-list=<-loopback>", "--timeout=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(PAGE)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let complaints = errors.lines().filter(|line| line.contains(":CONSOLE")).map(Into::into).collect();
    let asked = asked.lock().unwrap().clone();
    Seen { complaints, asked, document: String::from_utf8_lossy(&output.stdout).into_owned() }
}

/// Answers one request as a proxy does: the page for its own address, nothing for any other.
fn answer(mut stream: TcpStream, page: &str, asked: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&part[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    // A connection that is opened ahead of need, and not used.
    let Some(url) = request.split(' ').nth(1) else { return };
    let host = url.trim_start_matches("http://").split(['/', ':']).next().unwrap_or_default();
    if url != ICON && !OWN.contains(&host) {
        asked.lock().unwrap().push(url.to_owned());
    }
    let head = match url == PAGE {
        true => format!("200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}", page.len()),
        false => "404 Not Found\r\nContent-Length: 0".into(),
    };
    let body = if url == PAGE { page } else { "" };
    // The browser may have gone.
    let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
}
