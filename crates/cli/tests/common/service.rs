//! `virtmark serve` as a child of a test.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::World;

/// A service of this test, killed with it.
pub struct Service {
    pub url: String,
    child: Child,
    agent: ureq::Agent,
    // Closed, it would end whoever writes to it.
    _stdout: BufReader<ChildStdout>,
}

/// A status with the answer's JSON; `null` where it has none.
pub type Answer = (u16, Value);

impl Service {
    /// Starts it on a free port of loopback, with its state in the world.
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
            .args(["serve", "--accel", "tcg", "--listen", "127.0.0.1:0", "--state"])
            .arg(world.path("state"))
            .args(arguments)
            .envs(world.environment())
            .env_remove("VIRTMARK_TOKEN")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(world.path("serve.err")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        // One JSON object over several lines.
        while !text.trim_end().ends_with('}') {
            if stdout.read_line(&mut text).unwrap() == 0 {
                let said = std::fs::read_to_string(world.path("serve.err")).unwrap();
                panic!("the service ended before it listened: {said}");
            }
        }
        let told: Value = serde_json::from_str(&text).unwrap();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let url = told["url"].as_str().unwrap().to_owned();
        Self { url, child, agent: config.into(), _stdout: stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let request =
            self.agent.post(format!("{}{path}", self.url)).header("Content-Type", "application/json");
        read(request.send(serde_json::to_vec(body).unwrap().as_slice()))
    }

    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(format!("{}{path}", self.url)).call())
    }

    /// Makes a sandbox, which must succeed.
    pub fn create(&self, body: &Value) -> String {
        let (status, created) = self.post("/create", body);
        assert_eq!(status, 200, "{created}");
        created["sandbox_id"].as_str().unwrap().to_owned()
    }

    /// Runs a command, which must be answered.
    pub fn exec(&self, sandbox: &str, command: &str) -> Value {
        let (status, answer) = self.post("/exec", &json!({ "sandbox_id": sandbox, "cmd": command }));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What a command prints.
    pub fn stdout(&self, sandbox: &str, command: &str) -> String {
        let answer = self.exec(sandbox, command);
        assert_eq!(answer["exit_code"], 0, "{answer}");
        answer["stdout"].as_str().unwrap().trim_end().to_owned()
    }

    pub fn destroy(&self, sandbox: &str) {
        assert_eq!(self.post("/destroy", &json!({ "sandbox_id": sandbox })).0, 200);
    }

    /// Keeps a sandbox, and gives the snapshot's id.
    pub fn snapshot(&self, sandbox: &str, name: &str) -> String {
        let (status, answer) = self.post("/snapshot/create", &json!({ "sandbox_id": sandbox, "name": name }));
        assert_eq!(status, 200, "{answer}");
        answer["snapshot_id"].as_str().unwrap().to_owned()
    }

    pub fn restore(&self, snapshot: &str) -> Answer {
        self.post("/snapshot/restore", &json!({ "snapshot_id": snapshot }))
    }

    /// The QEMU processes that it has.
    pub fn machines(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Asks it to end, and waits; its exit code.
    pub fn stop(mut self, signal: &str) -> Option<i32> {
        super::kill(signal, self.pid());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already when it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut answer = answer.unwrap();
    let text = answer.body_mut().read_to_vec().unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&text).unwrap_or(Value::Null))
}

/// The pids of a process's QEMU children.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // The name is in parentheses and may contain anything; state and parent follow the last one.
        let Some((head, tail)) = stat.rsplit_once(')') else { return false };
        let mut fields = tail.split_whitespace();
        let state = fields.next();
        head.contains("(qemu-system") && state != Some("Z") && fields.next() == Some(&parent.to_string())
    })
    .collect()
}
