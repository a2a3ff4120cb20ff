//! The authentication file: how to log in, the same on all machines.
//!
//! ```text
//! {"user": "root", "method": "password", "details": {"password": "..."}}
//! {"user": "root", "method": "key", "details": {"file": "~/.ssh/id_ed25519", "passphrase": "..."}}
//! {"user": "root", "method": "agent", "details": {"socket": "/run/agent.sock"}}
//! ```
//!
//! `passphrase` and `socket` may be left out, and so may the `details` of an agent, whose socket then is that of
//! `SSH_AUTH_SOCK`. A file without a directory is beside the authentication file. Each form takes
//! `"known_hosts": {"policy": "accept-new", "file": "..."}` as well.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::transport::plain;

/// A longer file is not read.
const AUTH_LIMIT_BYTES: u64 = 1 << 20;

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The account.
    pub user: String,
    /// How it is proven.
    pub method: Method,
    /// How the machines are.
    pub known_hosts: KnownHosts,
    /// Whether the file has a secret in it and others can read it.
    pub exposed: bool,
}

/// How an account is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// By whatever the agent has.
    Agent {
        /// Its socket; that of `SSH_AUTH_SOCK` where it is none.
        socket: Option<PathBuf>,
    },
    /// By a private key.
    Key {
        /// The file.
        file: PathBuf,
        /// What opens it, where it is encrypted.
        passphrase: Option<Secret>,
    },
    /// By a password.
    Password {
        /// The password.
        password: Secret,
    },
}

/// How machines prove that they are who they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts {
    /// What to make of a key that is not on file.
    pub policy: HostKeyPolicy,
    /// The file; `~/.ssh/known_hosts` where it is none.
    pub file: Option<PathBuf>,
}

/// What to make of a machine's key. One that is on file and has changed is refused by every policy but `ignore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// The key of a machine that is not on file is taken, and put on file.
    #[default]
    AcceptNew,
    /// Any key will do, and none is put on file.
    Ignore,
    /// A machine must be on file.
    Strict,
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// One of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(...)")
    }
}

/// An authentication file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It makes no sense. The message has none of its secrets.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It cannot be read.
    #[error("cannot read the authentication file {}; check that it exists and is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Auth {
    /// Reads an authentication file.
    pub fn from_file(path: &Path) -> Result<Self, AuthError> {
        let told = |source| AuthError::Read { path: path.into(), source };
        let file = File::open(path).map_err(told)?;
        let others_read = file.metadata().map_err(told)?.mode() & 0o044 != 0;
        let mut bytes = Vec::new();
        file.take(AUTH_LIMIT_BYTES).read_to_end(&mut bytes).map_err(told)?;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let mut auth = Self::parse(&bytes, path, home.as_deref())?;
        auth.exposed = others_read && auth.has_secret();
        Ok(auth)
    }

    /// Reads the text of a file: the path is for messages and for files beside it, the home directory for `~`.
    pub fn parse(bytes: &[u8], path: &Path, home: Option<&Path>) -> Result<Self, AuthError> {
        let invalid = |problem: String| AuthError::Invalid { path: path.into(), problem };
        let written: Written = serde_json::from_slice(bytes).map_err(|error| invalid(redacted(&error)))?;
        if written.user.is_empty() || written.user.contains(char::is_whitespace) {
            return Err(invalid("`user` is no name of an account; give one such as root".into()));
        }
        let place = |file: PathBuf| match (file.strip_prefix("~"), home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => path.parent().unwrap_or(Path::new("")).join(file),
        };
        let method = written.method(place).map_err(invalid)?;
        let WrittenHosts { policy, file } = written.known_hosts;
        let known_hosts = KnownHosts { policy, file: file.map(place) };
        Ok(Self { user: written.user, method, known_hosts, exposed: false })
    }

    fn has_secret(&self) -> bool {
        match &self.method {
            Method::Agent { .. } => false,
            Method::Key { passphrase, .. } => passphrase.is_some(),
            Method::Password { .. } => true,
        }
    }
}

/// What the parser says, without the values that it may quote.
fn redacted(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    let full = error.to_string();
    let names_a_key = ["missing field", "unknown field", "unknown variant", "duplicate field"];
    if error.is_data() && names_a_key.iter().any(|start| full.starts_with(start)) && !full.contains("variant")
    {
        // The name of a field is whatever the file has, line ends too.
        let short = plain(full.split(" at line ").next().unwrap_or(&full));
        return format!("{place}: {short}; `user`, `method` and `details` are expected");
    }
    let kind = if error.is_data() { "a value is of the wrong kind" } else { "this is not JSON" };
    format!("{place}: {kind}; an object with `user`, `method` and `details` is expected")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    user: String,
    method: String,
    #[serde(default)]
    details: Details,
    #[serde(default)]
    known_hosts: WrittenHosts,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Details {
    file: Option<PathBuf>,
    passphrase: Option<Secret>,
    password: Option<Secret>,
    socket: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHosts {
    policy: HostKeyPolicy,
    file: Option<PathBuf>,
}

impl Written {
    fn method(&self, place: impl Fn(PathBuf) -> PathBuf) -> Result<Method, String> {
        let Details { file, passphrase, password, socket } = &self.details;
        let given = [
            ("file", file.is_some()),
            ("passphrase", passphrase.is_some()),
            ("password", password.is_some()),
            ("socket", socket.is_some()),
        ];
        let (method, allowed): (Method, &[&str]) = match self.method.as_str() {
            "agent" => (Method::Agent { socket: socket.clone().map(place) }, &["socket"]),
            "key" => {
                let file = file.clone().ok_or("the method key needs `details.file`, a private key")?;
                (Method::Key { file: place(file), passphrase: passphrase.clone() }, &["file", "passphrase"])
            }
            "password" => {
                let password = password.clone().ok_or("the method password needs `details.password`")?;
                (Method::Password { password }, &["password"])
            }
            other => return Err(format!("{other:?} is no method; there are password, key and agent")),
        };
        match given.iter().find(|(name, given)| *given && !allowed.contains(name)) {
            Some((name, _)) => {
                Err(format!("`details.{name}` means nothing to the method {}; take it out", self.method))
            }
            None => Ok(method),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<Auth, String> {
        let home = Some(Path::new("/home/me"));
        Auth::parse(text.as_bytes(), Path::new("lab/auth.json"), home).map_err(|error| error.to_string())
    }

    #[test]
    fn the_methods_are_read() {
        let auth =
            parse(r#"{"user": "root", "method": "password", "details": {"password": "unsafe"}}"#).unwrap();
        assert_eq!(auth.method, Method::Password { password: Secret::new("unsafe") });
        assert_eq!((auth.user.as_str(), auth.known_hosts), ("root", KnownHosts::default()));

        let key = r#"{"user": "me", "method": "key", "details": {"file": "~/.ssh/id", "passphrase": "p"},
                      "known_hosts": {"policy": "strict", "file": "known"}}"#;
        let auth = parse(key).unwrap();
        let passphrase = Some(Secret::new("p"));
        assert_eq!(auth.method, Method::Key { file: "/home/me/.ssh/id".into(), passphrase });
        let known_hosts = KnownHosts { policy: HostKeyPolicy::Strict, file: Some("lab/known".into()) };
        assert_eq!(auth.known_hosts, known_hosts);

        let auth = parse(r#"{"user": "me", "method": "key", "details": {"file": "/k"}}"#).unwrap();
        assert_eq!(auth.method, Method::Key { file: "/k".into(), passphrase: None });
        assert_eq!(
            parse(r#"{"user": "me", "method": "agent"}"#).unwrap().method,
            Method::Agent { socket: None }
        );
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        for (text, expected) in [
            ("", "lab/auth.json: line 1, column 0: this is not JSON"),
            ("{}", "missing field `user`"),
            (r#"{"user": "root"}"#, "missing field `method`"),
            (r#"{"user": "", "method": "agent"}"#, "no name of an account"),
            (r#"{"user": "root", "method": "password", "details": {}}"#, "needs `details.password`"),
            (
                r#"{"user": "root", "method": "password", "details": {"foo": "s3cret"}}"#,
                "unknown field `foo`",
            ),
            (r#"{"user": "root", "a\nb\u001b[2J": 1}"#, "unknown field `ab[2J`"),
            (r#"{"user": "root", "method": "password", "details": "s3cret"}"#, "wrong kind"),
            (r#"{"user": "root", "method": "key", "details": {}}"#, "needs `details.file`"),
            (
                r#"{"user": "root", "method": "key", "details": {"file": "k", "password": "s3cret"}}"#,
                "means nothing",
            ),
            (r#"{"user": "root", "method": "kerberos"}"#, "\"kerberos\" is no method"),
            (r#"{"user": "root", "method": "agent", "known_hosts": {"policy": "s3cret"}}"#, "wrong kind"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("s3cret") && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn secrets_are_not_shown_and_exposure_is_noticed() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("auth.json");
        let text = r#"{"user": "root", "method": "password", "details": {"password": "s3cret"}}"#;
        std::fs::write(&path, text).unwrap();
        for (mode, exposed) in [(0o600, false), (0o640, true), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let auth = Auth::from_file(&path).unwrap();
            assert_eq!(auth.exposed, exposed, "{mode:o}");
            assert!(!format!("{auth:?}").contains("s3cret"));
        }
        assert!(matches!(Auth::from_file(&here.path().join("none")), Err(AuthError::Read { .. })));
    }
}
