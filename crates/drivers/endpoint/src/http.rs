//! One HTTP request, and what came of it.
//!
//! One agent is shared by all threads; its connections are kept and reused, its lock is held for the few microseconds
//! that it takes to find one. No redirect is followed (a token would travel with it) and no proxy is used (it would be
//! measured too).

use std::io::{self, Read};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{HeaderName, HeaderValue, Method, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, SendBody};

/// Idle connections that are kept: as many as a large burst has.
const IDLE_CONNECTIONS: usize = 1024;

/// How long the addresses of the service's host are used before they are looked up again.
const ADDRESSES_KEPT: Duration = Duration::from_secs(60);

/// Speaks HTTP with one service.
pub(crate) struct Client {
    agent: Agent,
    /// Scheme, host, and the path under which the API is; no slash at its end.
    base: String,
    auth: Option<(HeaderName, HeaderValue)>,
    max_answer_bytes: u64,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) payload: Payload<'a>,
    pub(crate) timeout: Duration,
    /// Whether asking twice does the same as asking once.
    pub(crate) repeatable: bool,
}

/// What goes with a request.
pub(crate) enum Payload<'a> {
    Bytes { source: &'a mut dyn Read, size: u64 },
    Json(Vec<u8>),
    None,
}

/// A whole answer, whatever it says.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection was lost before the answer was whole.
    Lost(String),
    /// Nothing was sent: nobody is there.
    NobodyThere(String),
    /// Nothing was sent: there is no encrypted connection to who the URL says it is.
    NoTls(String),
    /// The request's time limit passed.
    Timeout,
    /// The answer is larger than what is read of one.
    TooLarge(u64),
}

impl Client {
    pub(crate) fn new(base: String, auth: Option<(HeaderName, HeaderValue)>, max_answer_bytes: u64) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("virtmark/", env!("CARGO_PKG_VERSION")))
            .accept("application/json, */*")
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .no_delay(true)
            .proxy(None)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Remembering::default());
        Self { agent, base, auth, max_answer_bytes }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn send(&self, ask: Ask<'_>) -> Result<Reply, Trouble> {
        let Ask { method, path, payload, timeout, repeatable } = ask;
        let line = Line { method, url: format!("{}{path}", self.base), timeout };
        match payload {
            Payload::Bytes { source, size } => {
                let length = (header::CONTENT_LENGTH, HeaderValue::from(size));
                let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                // What was read from the source cannot be sent again.
                self.once(&line, [length, kind], SendBody::from_reader(source)).map_err(Broken::into_trouble)
            }
            Payload::Json(bytes) => {
                let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.again(repeatable, || self.once(&line, [kind.clone()], bytes.as_slice()))
            }
            // These have a body by their nature, if only an empty one.
            Payload::None if [Method::PATCH, Method::POST, Method::PUT].contains(method) => {
                self.again(repeatable, || self.once(&line, [], [].as_slice()))
            }
            Payload::None => self.again(repeatable, || self.once(&line, [], ())),
        }
    }

    /// Once more when the connection turned out to be closed: a server closes those that were idle for long, and a
    /// request may cross that on its way.
    fn again(&self, repeatable: bool, attempt: impl Fn() -> Result<Reply, Broken>) -> Result<Reply, Trouble> {
        match attempt() {
            Err(Broken { unanswered: true, .. }) if repeatable => attempt(),
            result => result,
        }
        .map_err(Broken::into_trouble)
    }

    fn once<const N: usize>(
        &self,
        line: &Line<'_>,
        headers: [(HeaderName, HeaderValue); N],
        body: impl AsSendBody,
    ) -> Result<Reply, Broken> {
        let mut request = ureq::http::Request::builder().method(line.method).uri(&line.url);
        for (name, value) in headers.into_iter().chain(self.auth.clone()) {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| Broken::asked(error.into()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(line.timeout)).build();
        let mut response = self.agent.run(request).map_err(Broken::asked)?;
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(self.max_answer_bytes).read_to_vec();
        let body = body.map_err(|error| Broken { error, unanswered: false })?;
        Ok(Reply { status, retry_after, body })
    }
}

/// A request's first line, and its time.
struct Line<'a> {
    method: &'a Method,
    url: String,
    timeout: Duration,
}

/// A request that got no whole answer.
struct Broken {
    error: ureq::Error,
    /// Whether the connection closed before the answer began.
    unanswered: bool,
}

impl Broken {
    fn asked(error: ureq::Error) -> Self {
        let closed = |error: &io::Error| {
            use io::ErrorKind::*;
            matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
            )
        };
        let unanswered = matches!(&error, ureq::Error::Io(error) if closed(error));
        Self { error, unanswered }
    }

    fn into_trouble(self) -> Trouble {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable, TimedOut};
        match self.error {
            ureq::Error::BodyExceedsLimit(bytes) => Trouble::TooLarge(bytes),
            ureq::Error::HostNotFound => Trouble::NobodyThere("the host's name is not known".into()),
            ureq::Error::Timeout(_) => Trouble::Timeout,
            ureq::Error::Io(error) if error.kind() == TimedOut => Trouble::Timeout,
            ureq::Error::Io(error)
                if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) =>
            {
                Trouble::NobodyThere(error.to_string())
            }
            // A handshake's errors come as these; what is wrong with an answer has an error of its own.
            ureq::Error::Io(error) if error.kind() == InvalidData => Trouble::NoTls(error.to_string()),
            ureq::Error::Io(_) if self.unanswered => {
                Trouble::Lost("the connection was closed without an answer".into())
            }
            ureq::Error::Io(error) => Trouble::Lost(error.to_string()),
            error => Trouble::Lost(error.to_string()),
        }
    }
}

/// Looks a host's addresses up once a minute instead of once a request: the default asks even when a connection is
/// there, and starts a thread for it.
#[derive(Debug, Default)]
struct Remembering {
    inner: DefaultResolver,
    known: RwLock<Option<(Instant, ResolvedSocketAddrs)>>,
}

impl Resolver for Remembering {
    /// All requests of an agent go to one host.
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // A panic elsewhere leaves whole values behind.
        if let Some((at, addresses)) = &*self.known.read().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < ADDRESSES_KEPT
        {
            return Ok(addresses.clone());
        }
        let found = self.inner.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            error => error,
        })?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}
