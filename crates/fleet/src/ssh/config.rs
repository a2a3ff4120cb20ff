//! What `~/.ssh/config` says of a host: the part of ssh_config(5) that matters here.
//!
//! `HostName`, `IdentityAgent`, `IdentityFile`, `Port`, `StrictHostKeyChecking`, `User` and `UserKnownHostsFile`, in
//! `Host` blocks and outside. The first value wins, but of `IdentityFile` all count. `Match` blocks are left out, but
//! for `Match all`. `Include` is followed, also in a block: there for the hosts of the block only.

use std::io;
use std::path::{Path, PathBuf};

use super::include;
use crate::auth::HostKeyPolicy;

/// Files within files, as OpenSSH's client has it: more is a mistake, such as one that includes itself.
const DEEPEST: usize = 16;

/// A client's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    blocks: Vec<Block>,
    home: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// One list of the block itself, and one of each block in which its file is included: all must be for a host.
    patterns: Vec<Vec<Pattern>>,
    settings: Vec<(String, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    negated: bool,
}

/// What it says of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostConfig {
    pub(crate) agent: Option<PathBuf>,
    pub(crate) host_name: Option<String>,
    pub(crate) identity_files: Vec<PathBuf>,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) policy: Option<HostKeyPolicy>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
}

impl ClientConfig {
    /// Reads a file, and those that it includes; one that is not there says nothing.
    pub fn from_file(path: &Path, home: &Path) -> io::Result<Self> {
        let mut config = Self { blocks: Vec::new(), home: home.into() };
        match std::fs::read(path) {
            Ok(bytes) => config.take(&String::from_utf8_lossy(&bytes), &[], Some(DEEPEST))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(config)
    }

    /// Reads a text; `~` is the home directory. `Include` is not followed.
    pub fn parse(text: &str, home: &Path) -> Self {
        let mut config = Self { blocks: Vec::new(), home: home.into() };
        // Only files that are read can fail.
        let _ = config.take(text, &[], None);
        config
    }

    /// Takes the lines of a text for the hosts of `outer`, and the files that it includes, where so many are allowed within
    /// each other.
    fn take(&mut self, text: &str, outer: &[Vec<Pattern>], depth: Option<usize>) -> io::Result<()> {
        let everywhere = vec![Pattern { text: "*".into(), negated: false }];
        let within = |patterns| outer.iter().cloned().chain([patterns]).collect::<Vec<_>>();
        let mut here = within(everywhere.clone());
        self.begin(&here);
        for line in text.lines() {
            let mut words = words(line).into_iter();
            let Some(keyword) = words.next().map(|word| word.to_ascii_lowercase()) else { continue };
            let words: Vec<String> = words.collect();
            match keyword.as_str() {
                "host" => {
                    here = within(words.iter().map(|word| Pattern::new(word)).collect());
                    self.begin(&here);
                }
                "match" => {
                    let all = words.len() == 1 && words[0].eq_ignore_ascii_case("all");
                    here = within(if all { everywhere.clone() } else { Vec::new() });
                    self.begin(&here);
                }
                "include" => {
                    let Some(depth) = depth else { continue };
                    let deeper = depth.checked_sub(1).ok_or_else(|| {
                        io::Error::other(format!(
                            "files include each other, {DEEPEST} deep at Include {}",
                            words.join(" ")
                        ))
                    })?;
                    for word in &words {
                        for file in include::files(word, &self.home)? {
                            let bytes = std::fs::read(file)?;
                            self.take(&String::from_utf8_lossy(&bytes), &here, Some(deeper))?;
                        }
                    }
                    self.begin(&here);
                }
                _ => {
                    // There is always the one at the start.
                    if let Some(block) = self.blocks.last_mut() {
                        block.settings.push((keyword, words));
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, patterns: &[Vec<Pattern>]) {
        self.blocks.push(Block { patterns: patterns.to_vec(), settings: Vec::new() });
    }

    /// What it says of a host that goes by any of these names; the first is what tokens stand for.
    pub(crate) fn of(&self, names: &[&str]) -> HostConfig {
        let mut found = HostConfig::default();
        let blocks = self.blocks.iter().filter(|block| block.is_for(names));
        for (keyword, words) in blocks.flat_map(|block| &block.settings) {
            let Some(first) = words.first() else { continue };
            let path = |word: &String| self.expand(word, names.first().copied().unwrap_or_default());
            match keyword.as_str() {
                "hostname" => set(&mut found.host_name, first.replace("%h", names.first().unwrap_or(&""))),
                "identityagent" if first != "none" && !first.starts_with('$') && first != "SSH_AUTH_SOCK" => {
                    set(&mut found.agent, path(first));
                }
                "identityfile" if first != "none" => found.identity_files.push(path(first)),
                "port" => {
                    if let Ok(port) = first.parse() {
                        set(&mut found.port, port);
                    }
                }
                "stricthostkeychecking" => {
                    // `ask` cannot be asked, and `no` would let a changed key pass, which nothing here does.
                    let policy = match first.to_ascii_lowercase().as_str() {
                        "accept-new" | "no" | "off" => HostKeyPolicy::AcceptNew,
                        _ => HostKeyPolicy::Strict,
                    };
                    set(&mut found.policy, policy);
                }
                "user" => set(&mut found.user, first.clone()),
                "userknownhostsfile" if found.known_hosts.is_empty() => {
                    found.known_hosts = words.iter().filter(|word| *word != "none").map(path).collect();
                }
                _ => {}
            }
        }
        found
    }

    /// What it says of a host, in words: a door for fuzz targets.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    pub fn told_of(&self, names: &[&str]) -> String {
        format!("{:?}", self.of(names))
    }

    fn expand(&self, word: &str, host: &str) -> PathBuf {
        let home = self.home.to_string_lossy();
        let mut text = match word.strip_prefix("~/") {
            Some(below) => format!("{home}/{below}"),
            None => word.to_owned(),
        };
        for (token, value) in [("%d", home.as_ref()), ("%h", host), ("%n", host), ("%%", "%")] {
            text = text.replace(token, value);
        }
        PathBuf::from(text)
    }
}

fn set<T>(place: &mut Option<T>, value: T) {
    if place.is_none() {
        *place = Some(value);
    }
}

impl Block {
    fn is_for(&self, names: &[&str]) -> bool {
        self.patterns.iter().all(|patterns| are_for(patterns, names))
    }
}

fn are_for(patterns: &[Pattern], names: &[&str]) -> bool {
    let matches = |pattern: &Pattern| {
        let text = pattern.text.to_ascii_lowercase();
        names.iter().any(|name| include::is_like(text.as_bytes(), name.to_ascii_lowercase().as_bytes()))
    };
    let (mut for_it, mut against) = (false, false);
    for pattern in patterns.iter().filter(|pattern| matches(pattern)) {
        if pattern.negated { against = true } else { for_it = true }
    }
    for_it && !against
}

impl Pattern {
    fn new(word: &str) -> Self {
        match word.strip_prefix('!') {
            Some(text) => Self { text: text.into(), negated: true },
            None => Self { text: word.into(), negated: false },
        }
    }
}

/// Words of a line, apart by white space, or by `=` after the first; quotes hold one together; `#` at the start of the
/// line makes it a comment.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for character in line.chars() {
        let ends = character.is_whitespace() || (character == '=' && words.is_empty());
        match character {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            _ if ends && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            // `Port = 22`
            '=' if words.len() == 1 && !begun && !quoted => {}
            _ => {
                word.push(character);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# mine
User everywhere
Host vm-* !vm-9
    Port = 2222
    HostName %h.example.net
    IdentityFile ~/.ssh/first
    IdentityFile \"%d/my keys/%h\"
    UserKnownHostsFile /dev/null
    StrictHostKeyChecking no
Host vm-3
    Port 1
    User late
Match exec true
    Port 3
Match all
    StrictHostKeyChecking ask
    IdentityAgent ~/agent
";

    #[test]
    fn blocks_apply_and_the_first_value_wins() {
        let config = ClientConfig::parse(TEXT, Path::new("/home/me"));
        let found = config.of(&["vm-3", "192.0.2.1"]);
        let expected = HostConfig {
            agent: Some("/home/me/agent".into()),
            host_name: Some("vm-3.example.net".into()),
            identity_files: vec!["/home/me/.ssh/first".into(), "/home/me/my keys/vm-3".into()],
            known_hosts: vec!["/dev/null".into()],
            policy: Some(HostKeyPolicy::AcceptNew),
            port: Some(2222),
            user: Some("everywhere".into()),
        };
        assert_eq!(found, expected);
        let other = config.of(&["vm-9"]);
        assert_eq!((other.port, other.policy), (None, Some(HostKeyPolicy::Strict)));
    }

    #[test]
    fn included_files_are_for_the_hosts_of_their_block() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".ssh");
        std::fs::create_dir_all(directory.join("conf.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        write("config", "Include conf.d/* absent\nHost vm-*\n  Include ~/.ssh/of-vms\n  User late\n");
        write("conf.d/1", "Host vm-1\n  Port 2201\n");
        write("conf.d/2", "Host *\n  Port 2202\n");
        write("of-vms", "User bench\nHost other vm-2\n  HostName two\n");
        let config = ClientConfig::from_file(&directory.join("config"), home.path()).unwrap();
        let found = |name: &str| {
            let found = config.of(&[name]);
            (found.port, found.user, found.host_name)
        };
        let bench = Some("bench".to_owned());
        assert_eq!(found("vm-1"), (Some(2201), bench.clone(), None));
        assert_eq!(found("vm-2"), (Some(2202), bench, Some("two".into())));
        assert_eq!(found("other"), (Some(2202), None, None));
        write("of-vms", "Include of-vms\n");
        let error = ClientConfig::from_file(&directory.join("config"), home.path()).unwrap_err().to_string();
        assert!(error.contains("Include of-vms"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(Host|Port|Match|User|[ =\"*?!#a\n]){0,60}") {
            let _ = ClientConfig::parse(&text, Path::new("/h")).of(&["a", "b"]);
        }

        #[test]
        fn a_pattern_of_a_name_itself_fits(name in "[a-z.-]{1,12}", cut in 0_usize..12) {
            let at = cut.min(name.len());
            prop_assert!(include::is_like(name.as_bytes(), name.as_bytes()));
            let start = format!("{}*", &name[..at]);
            prop_assert!(include::is_like(start.as_bytes(), name.as_bytes()));
            let longer = format!("{name}x");
            prop_assert!(!include::is_like(name.as_bytes(), longer.as_bytes()));
        }
    }
}
