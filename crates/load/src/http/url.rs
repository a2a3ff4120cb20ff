//! Where a request goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long one of several addresses is tried before the next.
const TRY_TIME: Duration = Duration::from_secs(1);

/// `http://host[:port][/path][?query]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// Without the brackets of IPv6.
    host: &'a str,
    port: u16,
    /// As the request says it: host and port.
    pub(crate) authority: &'a str,
    /// Path and query, from the slash.
    pub(crate) target: String,
}

impl<'a> Url<'a> {
    /// Takes a URL apart; otherwise says what is wrong.
    pub(crate) fn parse(url: &'a str) -> Result<Self, String> {
        let wrong = |why: &str| format!("cannot call {url:?}: {why}");
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("it is no URL such as http://127.0.0.1:8080/"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => {
                return Err(wrong("TLS is not spoken here; call the server behind its TLS, or use http://"));
            }
            _ => return Err(wrong("only http:// can be called")),
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("it has a user; send an Authorization header instead"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(|| wrong("a bracket of its host is missing"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 80,
            Some(number) if !number.starts_with('+') => number
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("its port is no number up to 65535"))?,
            _ => return Err(wrong("something else than a port follows its host")),
        };
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        // The fragment is not for the server.
        let target = target.split('#').next().unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_graphic();
        if !authority.bytes().all(is_plain) || !target.bytes().all(is_plain) {
            return Err(wrong("it has spaces or letters beyond ASCII; write them as %20 or xn--"));
        }
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        Ok(Self { host, port, authority, target })
    }

    /// The address to call: the first that answers, or else the first.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, String> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok((address, self.port).into());
        }
        // A static program in a guest without a resolver knows this one too.
        let known =
            self.host.eq_ignore_ascii_case("localhost").then(|| (Ipv4Addr::LOCALHOST, self.port).into());
        let resolved = (self.host, self.port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = match (resolved, known) {
            (Ok(addresses), known) => addresses.chain(known).collect(),
            (Err(_), Some(known)) => vec![known],
            (Err(error), None) => return Err(format!("cannot find the address of {}: {error}", self.host)),
        };
        let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, TRY_TIME).is_ok();
        let first = if addresses.len() > 1 { addresses.iter().find(answers) } else { None };
        first.or(addresses.first()).copied().ok_or_else(|| format!("{} has no address", self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| {
            let url = Url::parse(url).unwrap();
            (url.host.to_owned(), url.port, url.authority.to_owned(), url.target)
        };
        let owned = |host: &str, port, authority: &str, target: &str| {
            (host.to_owned(), port, authority.to_owned(), target.to_owned())
        };
        assert_eq!(parts("http://localhost"), owned("localhost", 80, "localhost", "/"));
        assert_eq!(parts("HTTP://a.b:81/c?d=e#f"), owned("a.b", 81, "a.b:81", "/c?d=e"));
        assert_eq!(parts("http://[::1]:8080?x"), owned("::1", 8080, "[::1]:8080", "/?x"));
    }

    #[test]
    fn what_cannot_be_called_is_told() {
        for (url, why) in [
            ("localhost:80", "no URL"),
            ("ftp://x/", "only http"),
            ("https://x/", "TLS is not spoken"),
            ("http:///x", "no host"),
            ("http://u:p@x/", "Authorization"),
            ("http://x:0/", "port"),
            ("http://x:65536/", "port"),
            ("http://x:+1/", "port"),
            ("http://[::1/", "bracket"),
            ("http://[::1]8/", "something else"),
            ("http://x/a b", "%20"),
            ("http://x/\r\nInjected: 1", "%20"),
        ] {
            let error = Url::parse(url).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
