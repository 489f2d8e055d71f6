//! Requests to the admin listener of a running sidecar.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::local_client::{LocalClient, parse_local_url};
use super::table::printable;
use crate::admin::CHALLENGE;
use crate::app::admin_authorization;
use crate::config::{CHILD_ADMIN_URL, Config, ConfigError, Overrides, env_vars};
use crate::net::{HttpClientError, ListenAddr};
use crate::source::encode_token;
use crate::token::{OperatorCommand, TokenChange};
use crate::types::{TenantId, error_chain};

/// The flags that say which sidecar is asked.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct AdminArgs {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sidecar's admin address: IP:PORT or unix:/PATH [default: `GRAPHWARD_ADMIN_URL`, which `exec` sets, else 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

/// The reason why a sidecar did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("cannot query the sidecar at {0}; is it running, and is this its admin address?")]
    Unreachable(ListenAddr, #[source] HttpClientError),
    #[error("the sidecar at {0} answered {status}: {2}", status = .1.as_u16())]
    Refused(ListenAddr, StatusCode, String),
    #[error("the sidecar at {0} answered 401; set admin.key as in its configuration, or name that with --config")]
    WrongKey(ListenAddr),
    #[error(
        "{0} is the address of the app, not of the operators: it answered with an error of Graph's; pass the address of \
         listen.admin"
    )]
    Proxy(ListenAddr),
    #[error("the answer from {0} is not graphward's, or is that of another version")]
    Foreign(ListenAddr),
}

/// The reason why no sidecar makes a change.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Obstacle {
    /// No sidecar with these token sources is there.
    Absent(String),
    /// It changes no token.
    ReadOnly(String),
    /// It has another key than the configuration.
    WrongKey(String),
}

/// A client of one admin listener on this machine.
pub(super) struct AdminClient {
    pub(super) address: ListenAddr,
    client: LocalClient,
    /// Proves that the command may look and change something, if the listener has a key.
    authorization: Option<HeaderValue>,
}

// === impl AdminArgs ===

impl AdminArgs {
    /// The admin address to ask. What was given comes first and needs no configuration: the rest of it might not even be valid
    /// without the flags that the sidecar itself was given.
    pub(super) fn address(&self) -> Result<ListenAddr, String> {
        let given = match &self.admin {
            Some(admin) => Some(parse_local_url(admin).map_err(|error| format!("--admin: {error}"))?),
            None => address_of_exec()?,
        };
        if let Some(given) = given {
            return Ok(given);
        }
        let config = load_config(self.config.as_deref()).map_err(|error| error.to_string())?;
        Ok(config.listen.admin)
    }

    /// Creates a client with the key of the configuration.
    pub(super) fn client(&self, timeout: Duration) -> Result<AdminClient, String> {
        let address = self.address()?;
        // Without a valid configuration, the listener may have no key.
        let config = load_config(self.config.as_deref()).ok();
        let authorization = config.map(|config| admin_authorization(&config)).transpose();
        let authorization = authorization.map_err(|error| error_chain(&error))?;
        AdminClient::new(&address, timeout, authorization.flatten())
    }
}

// === impl AdminClient ===

impl AdminClient {
    /// Creates a client whose requests take no longer than this, with the header that proves that the command has the key.
    pub(super) fn new(admin: &ListenAddr, timeout: Duration, key: Option<HeaderValue>) -> Result<Self, String> {
        let address = admin.local_dial_address();
        let client = LocalClient::new(&address, timeout).map_err(|error| error_chain(&error))?;
        Ok(Self {
            address,
            client,
            authorization: key,
        })
    }

    /// Sends a request with the header that changes need.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let mut headers = HeaderMap::new();
        headers.insert("graphward-admin", HeaderValue::from_static("yes"));
        headers.extend(self.authorization.clone().map(|key| (AUTHORIZATION, key)));
        self.client.send(method, path, headers, body).await
    }

    /// Sends a request and returns the JSON of a successful answer.
    pub(super) async fn request(&self, method: Method, path: &str, body: &[u8]) -> Result<Value, AdminError> {
        let address = || self.address.clone();
        let answer = self.send(method, path, Bytes::copy_from_slice(body)).await;
        let answer = answer.map_err(|error| AdminError::Unreachable(address(), error))?;
        if wants_key(&answer) {
            return Err(AdminError::WrongKey(address()));
        }
        let (status, body) = (answer.status(), answer.body());
        let json: Option<Value> = serde_json::from_slice(body).ok();
        if status.is_success() {
            return json.ok_or_else(|| AdminError::Foreign(address()));
        }
        // Graph's errors, and those of graphward in their place, have a code.
        if json.as_ref().is_some_and(|json| json.pointer("/error/code").is_some()) {
            return Err(AdminError::Proxy(address()));
        }
        let message = json.as_ref().and_then(|json| json.pointer("/error/message")?.as_str());
        let message = message.map_or_else(|| String::from_utf8_lossy(body), Into::into);
        let message = printable(&message).chars().take(MAX_MESSAGE).collect();
        Err(AdminError::Refused(address(), status, message))
    }
}

/// Whether an answer is that of an admin listener to a wrong key, or to none.
fn wants_key(answer: &Response<Bytes>) -> bool {
    let challenge = answer.headers().get(WWW_AUTHENTICATE);
    challenge.is_some_and(|challenge| challenge == CHALLENGE)
}

/// The admin address of the `graphward exec` that runs this command, if one does.
pub(super) fn address_of_exec() -> Result<Option<ListenAddr>, String> {
    let url = env_vars().remove(CHILD_ADMIN_URL).filter(|url| !url.is_empty());
    let address = url.map(|url| parse_local_url(&url)).transpose();
    address.map_err(|error| format!("{CHILD_ADMIN_URL}: {error}"))
}

/// Reads the configuration of a sidecar that was given this file.
pub(super) fn load_config(file: Option<&Path>) -> Result<Config, ConfigError> {
    let flags = Overrides {
        config: file.map(Path::to_owned),
        ..Overrides::default()
    };
    Ok(Config::load(flags, &env_vars())?.config)
}

/// The most that is shown of an answer, in characters.
const MAX_MESSAGE: usize = 800;
/// The longest wait for an answer to the question whether a sidecar runs.
pub(super) const FIND_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for what is only read.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for a change: longer than a sidecar waits for one.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Finds out whether a sidecar with the same token sources listens there and changes tokens.
pub(super) async fn find_sidecar(
    admin: &ListenAddr,
    authorization: Option<HeaderValue>,
    source_identity: &str,
) -> Result<(), Obstacle> {
    let client = AdminClient::new(admin, FIND_TIMEOUT, authorization).map_err(Obstacle::Absent)?;
    let address = &client.address;
    let path = "/admin/token-status?limit=1";
    let answer = client.send(Method::GET, path, Bytes::new()).await;
    let unanswered = |error| format!("no sidecar answers at {address} ({})", error_chain(&error));
    let answer = answer.map_err(|error| Obstacle::Absent(unanswered(error)))?;
    if wants_key(&answer) {
        return Err(Obstacle::WrongKey(AdminError::WrongKey(address.clone()).to_string()));
    }
    let status: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let reason = if source_identity.is_empty() {
        "all tenants are in tenants_from, where a sidecar notices the change".to_owned()
    } else if status.get("source_identity") != Some(&source_identity.into()) {
        format!("what runs at {address} is not a sidecar with these token sources")
    } else if status.get("accepts_changes") == Some(&true.into()) {
        return Ok(());
    } else {
        let reason = status.get("changes_refused").and_then(Value::as_str);
        let reason = printable(reason.unwrap_or("it does not say why"));
        return Err(Obstacle::ReadOnly(format!(
            "the sidecar at {address} changes no token: {reason}"
        )));
    };
    Err(Obstacle::Absent(reason))
}

/// Lets a sidecar change the token of a tenant, or of the only one.
pub(super) async fn request_change(
    admin: &ListenAddr,
    authorization: Option<HeaderValue>,
    tenant: Option<&TenantId>,
    command: &OperatorCommand,
) -> Result<TokenChange, String> {
    let client = AdminClient::new(admin, CHANGE_TIMEOUT, authorization)?;
    // A name has no character that a query encodes. The command has compared the token, or was forced.
    let tenant = tenant.map(|tenant| format!("tenant={tenant}")).unwrap_or_default();
    let (method, path, body) = match command {
        OperatorCommand::Set(token) => (Method::PUT, "/admin/token?force=yes&", encode_token(token)),
        OperatorCommand::RollBack => (Method::POST, "/admin/rollback?", Ok(Zeroizing::default())),
    };
    let body = body.map_err(|error| error.to_string())?;
    let answer = client.request(method, &format!("{path}{tenant}"), &body).await;
    let answer = answer.map_err(|error| error_chain(&error))?;
    serde_json::from_value(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_change_that_no_sidecar_makes_names_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = ListenAddr::Tcp(listener.local_addr().unwrap());
        for (answer, expected) in [
            (
                format!("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: {CHALLENGE}\r\ncontent-length: 0\r\n\r\n"),
                Obstacle::WrongKey(format!(
                    "the sidecar at {admin} answered 401; set admin.key as in its configuration, or name that with --config"
                )),
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Obstacle::Absent(format!(
                    "what runs at {admin} is not a sidecar with these token sources"
                )),
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
                Obstacle::Absent(format!(
                    "what runs at {admin} is not a sidecar with these token sources"
                )),
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1100000\r\n\r\n".to_owned() + &"x".repeat(1_100_000),
                Obstacle::Absent(format!(
                    "no sidecar answers at {admin} (the response is larger than 1024 KiB)"
                )),
            ),
        ] {
            let serving = async {
                let mut stream = listener.accept().await.unwrap().0;
                let _length = stream.read(&mut [0; 1024]).await.unwrap();
                // The client may end the connection before it has read all.
                stream.write_all(answer.as_bytes()).await.unwrap_or_default();
            };
            let (found, ()) = tokio::join!(find_sidecar(&admin, None, "identity"), serving);
            assert_eq!(found, Err(expected));
        }
    }
}
