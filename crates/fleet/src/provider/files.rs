//! Files with which others log in to machines: vmrun, and OpenSSH's own client.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::auth::{Auth, HostKeyPolicy, KnownHosts, Method};
use crate::map::HostMap;

/// How machines that were set up are logged in to: the same on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub user: String,
    /// The private key that it lets in.
    pub key: PathBuf,
    /// The host keys of the machines, and of no others.
    pub known_hosts: PathBuf,
}

impl Login {
    /// An [authentication file](crate::auth) of this login, in which unknown host keys are refused. Paths should be
    /// absolute: others are beside the file.
    pub fn auth_file(&self) -> String {
        let auth = json!({
            "user": self.user,
            "method": "key",
            "details": {"file": self.key},
            "known_hosts": {"policy": "strict", "file": self.known_hosts},
        });
        format!("{auth:#}\n")
    }

    /// The same, for programs that are in the same process.
    pub fn auth(&self) -> Auth {
        Auth {
            user: self.user.clone(),
            method: Method::Key { file: self.key.clone(), passphrase: None },
            known_hosts: KnownHosts { policy: HostKeyPolicy::Strict, file: Some(self.known_hosts.clone()) },
            exposed: false,
        }
    }

    /// A configuration file of OpenSSH's client (ssh_config(5)) in which the machines have their names:
    /// `ssh -F FILE vm-0`.
    pub fn ssh_config(&self, map: &HostMap) -> String {
        let mut text = String::new();
        for machine in map.machines() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "Host {}\n    HostName {}\n    Port {}",
                machine.name, machine.address.host, machine.address.port
            );
        }
        let names: Vec<&str> = map.machines().iter().map(|machine| machine.name.as_str()).collect();
        let _ = writeln!(
            text,
            "Host {}\n    User {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    UserKnownHostsFile {}\n    \
             StrictHostKeyChecking yes",
            names.join(" "),
            self.user,
            quoted(&self.key),
            quoted(&self.known_hosts),
        );
        text
    }
}

/// A path as ssh_config(5) reads it: in quotes, without the tokens that begin with a percent sign.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login { user: "root".into(), key: "/keys/id".into(), known_hosts: "/run/x/known_hosts".into() }
    }

    #[test]
    fn the_authentication_file_is_one() {
        let auth = Auth::parse(login().auth_file().as_bytes(), Path::new("auth.json"), None).unwrap();
        assert_eq!(auth, login().auth());
        assert_eq!(auth.user, "root");
        assert_eq!(auth.method, Method::Key { file: "/keys/id".into(), passphrase: None });
        assert_eq!(auth.known_hosts.policy, HostKeyPolicy::Strict);
        assert_eq!(auth.known_hosts.file.as_deref(), Some(Path::new("/run/x/known_hosts")));
    }

    #[test]
    fn the_configuration_names_every_machine() {
        let map = HostMap::from_bytes(b"127.0.0.1:2201 vm-0\n10.213.1.2 vm-1\n", "map").unwrap();
        let text = login().ssh_config(&map);
        let expected = "\
Host vm-0
    HostName 127.0.0.1
    Port 2201
Host vm-1
    HostName 10.213.1.2
    Port 22
Host vm-0 vm-1
    User root
    IdentityFile \"/keys/id\"
    IdentitiesOnly yes
    UserKnownHostsFile \"/run/x/known_hosts\"
    StrictHostKeyChecking yes
";
        assert_eq!(text, expected);
        assert_eq!(quoted(Path::new("/a b/100%")), "\"/a b/100%%\"");
    }
}
