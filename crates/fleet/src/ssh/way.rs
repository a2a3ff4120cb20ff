//! How one machine is reached: the map, the authentication file and the client's configuration put together.

use std::path::{Path, PathBuf};

use super::config::ClientConfig;
use crate::auth::{Auth, HostKeyPolicy, Method};
use crate::map::{DEFAULT_PORT, Host, Machine};

/// How machines are reached over SSH.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The authentication file; without one, keys and the agent are used as OpenSSH's client does.
    pub auth: Option<Auth>,
    /// `~/.ssh/config`.
    pub config: ClientConfig,
    /// The user's home directory, for default keys and known hosts.
    pub home: PathBuf,
    /// The account, before all else that names one.
    pub user: Option<String>,
    /// The account where nothing else names one: that of the user here.
    pub local_user: String,
    /// The socket of the agent where nothing else names one: `SSH_AUTH_SOCK`.
    pub agent_socket: Option<PathBuf>,
    /// What to make of host keys, before all else that says so.
    pub host_keys: Option<HostKeyPolicy>,
    /// The file of host keys, before all else that names one.
    pub known_hosts: Option<PathBuf>,
}

/// How one machine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The machine's name in the map.
    pub(super) machine: String,
    /// What is connected to: an address, or a name that is looked up.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// Tried in this order.
    pub(super) methods: Vec<Method>,
    /// Read in this order; new keys go to the first.
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) policy: HostKeyPolicy,
}

const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
const DEFAULT_KEYS: [&str; 2] = [".ssh/id_ed25519", ".ssh/id_ecdsa"];

impl SshOptions {
    pub(super) fn way(&self, machine: &Machine) -> Way {
        let address = machine.address.host.to_string();
        let config = self.config.of(&[&machine.name, &address]);
        // An address is one; a name may stand for another.
        let host = match (&machine.address.host, config.host_name) {
            (Host::Name(_), Some(host_name)) => host_name,
            _ => address,
        };
        let port = match (machine.address.port, config.port) {
            (DEFAULT_PORT, Some(port)) => port,
            (port, _) => port,
        };
        let of_file = self.auth.as_ref();
        let user = [self.user.as_ref(), of_file.map(|auth| &auth.user), config.user.as_ref()];
        let user = user.into_iter().flatten().next().unwrap_or(&self.local_user).clone();
        let methods = match of_file.map(|auth| auth.method.clone()) {
            Some(Method::Agent { socket: None }) => vec![Method::Agent { socket: self.agent_socket.clone() }],
            Some(method) => vec![method],
            None => self.usual_methods(config.agent, config.identity_files),
        };
        let user_files = match (&self.known_hosts, of_file.and_then(|auth| auth.known_hosts.file.clone())) {
            (Some(file), _) => vec![file.clone()],
            (None, Some(file)) => vec![file],
            (None, None) if of_file.is_none() && !config.known_hosts.is_empty() => config.known_hosts,
            (None, None) => vec![self.home.join(".ssh/known_hosts")],
        };
        let known_hosts = user_files.into_iter().chain([PathBuf::from(SYSTEM_KNOWN_HOSTS)]).collect();
        let of_config = if of_file.is_none() { config.policy } else { None };
        let policy = [self.host_keys, of_file.map(|auth| auth.known_hosts.policy), of_config];
        let policy = policy.into_iter().flatten().next().unwrap_or_default();
        Way { machine: machine.name.clone(), host, port, user, methods, known_hosts, policy }
    }

    /// The agent, then the keys that are there.
    fn usual_methods(&self, agent: Option<PathBuf>, identity_files: Vec<PathBuf>) -> Vec<Method> {
        let agent = agent.or_else(|| self.agent_socket.clone());
        let agent = agent.map(|socket| Method::Agent { socket: Some(socket) });
        let files = if identity_files.is_empty() {
            DEFAULT_KEYS.iter().map(|key| self.home.join(key)).filter(|file| Path::exists(file)).collect()
        } else {
            identity_files
        };
        let keys = files.into_iter().map(|file| Method::Key { file, passphrase: None });
        agent.into_iter().chain(keys).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{KnownHosts, Secret};
    use crate::map::HostMap;

    fn options(config: &str, auth: Option<Auth>) -> SshOptions {
        SshOptions {
            auth,
            config: ClientConfig::parse(config, Path::new("/home/me")),
            home: "/home/me".into(),
            user: None,
            local_user: "me".into(),
            agent_socket: Some("/run/agent".into()),
            host_keys: None,
            known_hosts: None,
        }
    }

    fn machine(line: &str) -> Machine {
        HostMap::from_bytes(line.as_bytes(), "map").unwrap().machines()[0].clone()
    }

    #[test]
    fn the_configuration_fills_what_the_map_leaves_open() {
        let config =
            "Host vm\nHostName other\nPort 2200\nUser bench\nIdentityFile /k\nUserKnownHostsFile /f\n";
        let way = options(config, None).way(&machine("10.0.0.7 vm"));
        let known_hosts = vec!["/f".into(), SYSTEM_KNOWN_HOSTS.into()];
        let methods = vec![
            Method::Agent { socket: Some("/run/agent".into()) },
            Method::Key { file: "/k".into(), passphrase: None },
        ];
        let expected = Way {
            machine: "vm".into(),
            host: "10.0.0.7".into(),
            port: 2200,
            user: "bench".into(),
            methods,
            known_hosts,
            policy: HostKeyPolicy::AcceptNew,
        };
        assert_eq!(way, expected);
        let way = options(config, None).way(&machine("vm:2201 x"));
        assert_eq!((way.host.as_str(), way.port), ("other", 2201));
    }

    #[test]
    fn the_authentication_file_is_before_the_configuration() {
        let auth = Auth {
            user: "root".into(),
            method: Method::Password { password: Secret::new("p") },
            known_hosts: KnownHosts { policy: HostKeyPolicy::Strict, file: Some("/mine".into()) },
            exposed: false,
        };
        let config = "User bench\nStrictHostKeyChecking accept-new\nUserKnownHostsFile /f\nIdentityFile /k\n";
        let mut options = options(config, Some(auth));
        let way = options.way(&machine("10.0.0.7 vm"));
        assert_eq!((way.user.as_str(), way.methods.len(), way.policy), ("root", 1, HostKeyPolicy::Strict));
        assert_eq!(way.known_hosts[0], Path::new("/mine"));
        options.user = Some("first".into());
        options.host_keys = Some(HostKeyPolicy::Ignore);
        let way = options.way(&machine("10.0.0.7 vm"));
        assert_eq!((way.user.as_str(), way.policy), ("first", HostKeyPolicy::Ignore));
    }
}
