//! What the arguments of a service ask for.

use std::net::SocketAddr;

/// How to call the agent.
pub(crate) const USAGE: &str = "\
Usage: virtmark-agent [--guard] [--hold] (--fd N | --tcp ADDRESS:PORT | --virtio NAME | --vsock PORT)
       virtmark-agent witness …
       virtmark-agent --version

Serves virtmark over one line:
  --fd N              an open stream socket; its end is the end of the agent and of all it started
  --tcp ADDRESS:PORT  one TCP connection at a time
  --virtio NAME       a virtio-serial port; the image's init uses virtmark.agent
  --vsock PORT        one vsock connection at a time

  --guard             do so in a second process, such that the end of either is the end of both and of all they started
  --hold              begin when a byte comes on standard input; end when that ends
  --parent PID        end when this process, the agent's parent, ends; --guard adds it
";

/// What to serve, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) serve: Serve,
    pub(crate) guard: bool,
    pub(crate) hold: bool,
    pub(crate) parent: Option<u32>,
}

/// The way to the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Serve {
    Fd(i32),
    Tcp(SocketAddr),
    Virtio(String),
    Vsock(u32),
}

impl Options {
    /// Understands the arguments; `None` when they make no sense.
    pub(crate) fn parse(arguments: &[String]) -> Option<Self> {
        let (mut serve, mut guard, mut hold, mut parent) = (None, false, false, None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match &**argument {
                "--guard" => guard = true,
                "--hold" => hold = true,
                "--parent" => parent = Some(arguments.next()?.parse().ok()?),
                "--fd" => serve = Some(Serve::Fd(arguments.next()?.parse().ok().filter(|fd| *fd >= 0)?)),
                "--tcp" => serve = Some(Serve::Tcp(arguments.next()?.parse().ok()?)),
                "--virtio" => serve = Some(Serve::Virtio(arguments.next()?.clone())),
                "--vsock" => serve = Some(Serve::Vsock(arguments.next()?.parse().ok()?)),
                _ => return None,
            }
        }
        Some(Self { serve: serve?, guard, hold, parent })
    }

    /// Whether the arguments are those of a service. The kernel gives init what it does not understand itself.
    pub(crate) fn are_given(arguments: &[String]) -> bool {
        arguments.first().is_some_and(|first| first.starts_with("--"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Options> {
        Options::parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_say_what_to_serve() {
        let plain = |serve| Some(Options { serve, guard: false, hold: false, parent: None });
        assert_eq!(parse("--fd 7"), plain(Serve::Fd(7)));
        assert_eq!(parse("--tcp 127.0.0.1:80"), plain(Serve::Tcp(([127, 0, 0, 1], 80).into())));
        assert_eq!(parse("--vsock 70000"), plain(Serve::Vsock(70_000)));
        assert_eq!(parse("--virtio a.b"), plain(Serve::Virtio("a.b".into())));
        let guarded = Options { serve: Serve::Fd(3), guard: true, hold: true, parent: Some(9) };
        assert_eq!(parse("--guard --hold --fd 3 --parent 9"), Some(guarded));
    }

    #[test]
    fn arguments_without_sense_are_refused() {
        for line in
            ["", "--fd", "--fd -1", "--fd x", "--tcp localhost:80", "--vsock -2", "--guard", "--fd 1 more"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_the_kernel_leaves_over_is_no_service() {
        assert!(!Options::are_given(&[]));
        assert!(!Options::are_given(&["splash".into()]));
        assert!(Options::are_given(&["--version".into()]));
    }
}
