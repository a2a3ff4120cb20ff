//! Logging in: one way after the other, until one is taken.

use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, Error as KeyError, HashAlg, PrivateKeyWithHashAlg, load_secret_key};

use super::handler::{Handler, Verdict};
use super::lost;
use super::way::Way;
use crate::auth::{Method, Secret};
use crate::transport::plain;
use crate::{Failure, FailureKind};

/// Rounds of questions of a server that asks for a password by asking.
const QUESTIONS: usize = 4;

/// Logs in as the way has it. `verdict` is that of the handle's handler.
pub(super) async fn login(handle: &mut Handle<Handler>, way: &Way, verdict: &Verdict) -> Result<(), Failure> {
    let mut tried = Vec::new();
    for method in &way.methods {
        let outcome = match method {
            Method::Agent { socket } => agent(handle, way, socket.as_deref()).await,
            Method::Key { file, passphrase } => key(handle, way, file, passphrase.as_ref()).await,
            Method::Password { password } => self::password(handle, way, password).await,
        };
        match outcome {
            Ok(Tried::Accepted) => return Ok(()),
            Ok(Tried::Refused(what)) => tried.push(what),
            // A server that has had enough takes no further way.
            Err(_) if verdict.is_farewell() => {}
            Err(failure) => return Err(failure),
        }
        if handle.is_closed() {
            if !verdict.is_farewell() {
                // A machine that went away has refused nothing.
                return Err(lost("logging in", &russh::Error::HUP));
            }
            break;
        }
    }
    let tried = match tried.len() {
        0 => "there is no key and no agent to log in with".into(),
        _ => format!("refused: {}", tried.join(", ")),
    };
    let message = format!(
        "cannot log in as {}: {tried}; name another account or key in the authentication file (-A)",
        way.user
    );
    Err(Failure::new(FailureKind::AuthenticationRefused, message))
}

/// What became of one way.
enum Tried {
    Accepted,
    /// What was tried, for the message.
    Refused(String),
}

impl Tried {
    fn of(result: &AuthResult, what: String) -> Self {
        if result.success() { Self::Accepted } else { Self::Refused(what) }
    }
}

async fn password(handle: &mut Handle<Handler>, way: &Way, password: &Secret) -> Result<Tried, Failure> {
    let refused = || Tried::Refused("the password".into());
    let during = |error| lost("logging in", &error);
    if handle.authenticate_password(&way.user, password.reveal()).await.map_err(during)?.success() {
        return Ok(Tried::Accepted);
    }
    if handle.is_closed() {
        return Ok(refused());
    }
    // A server may take passwords as answers to questions only.
    let started = handle.authenticate_keyboard_interactive_start(&way.user, None::<String>).await;
    let mut answer = started.map_err(during)?;
    for _ in 0..QUESTIONS {
        let prompts = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(Tried::Accepted),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(refused()),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = prompts.iter().map(|_| password.reveal().to_owned()).collect();
        answer = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(during)?;
    }
    Ok(refused())
}

async fn key(
    handle: &mut Handle<Handler>,
    way: &Way,
    file: &Path,
    passphrase: Option<&Secret>,
) -> Result<Tried, Failure> {
    let what = format!("the key {}", file.display());
    let key = match load_secret_key(file, passphrase.map(Secret::reveal)) {
        Ok(key) => key,
        // One of several may be unfit; the only one is told by the message.
        Err(error) => return Ok(Tried::Refused(format!("{what} ({})", unfit(&error)))),
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let result = handle.authenticate_publickey(&way.user, key).await;
    Ok(Tried::of(&result.map_err(|error| lost("logging in", &error))?, what))
}

fn unfit(error: &KeyError) -> String {
    match error {
        KeyError::IO(error) => format!("cannot be read: {error}"),
        KeyError::KeyIsEncrypted => "is encrypted; give its passphrase, or use an agent".into(),
        KeyError::UnsupportedKeyType { .. } => "is of a kind that is not supported; use an agent".into(),
        other => format!("cannot be used: {}; RSA keys are used through an agent", plain(&other.to_string())),
    }
}

async fn agent(handle: &mut Handle<Handler>, way: &Way, socket: Option<&Path>) -> Result<Tried, Failure> {
    let Some(socket) = socket else {
        return Ok(Tried::Refused("the agent (SSH_AUTH_SOCK is not set)".into()));
    };
    let unusable = |error: KeyError| {
        Tried::Refused(format!("the agent at {} ({})", socket.display(), plain(&error.to_string())))
    };
    let identities = match AgentClient::connect_uds(socket).await {
        Ok(mut client) => client.request_identities().await.map(|identities| (client, identities)),
        Err(error) => Err(error),
    };
    let (mut client, identities) = match identities {
        Ok(both) => both,
        Err(error) => return Ok(unusable(error)),
    };
    let mut offered = 0;
    for identity in identities {
        let AgentIdentity::PublicKey { key, .. } = identity else { continue };
        let hash = match key.algorithm() {
            Algorithm::Rsa { .. } => Some(HashAlg::Sha512),
            _ => None,
        };
        offered += 1;
        match handle.authenticate_publickey_with(&way.user, key, hash, &mut client).await {
            Ok(result) if result.success() => return Ok(Tried::Accepted),
            // An agent that does not sign with one key may with the next; a server may have had enough.
            Ok(_) | Err(_) if handle.is_closed() => break,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Tried::Refused(format!("{offered} keys of the agent")))
}
