//! `graphward send-test`: sends a WhatsApp message through a running sidecar, as the app would.
//!
//! # Why
//!
//! The message is a template unless a text is asked for: outside the 24 hours after the recipient's last message, Graph accepts
//! a text, answers with an id, and never delivers it. A test that cannot arrive says nothing.
//!
//! Graph's message is not repeated if it refuses one, since it may have the token in it; the codes are explained instead.
//!
//! The name of a tenant is looked up in the configuration, since a sidecar with the default tenant alone takes the part of the
//! path that names it for a part of Graph's path. The rows of a table are the sidecar's to know: no database is asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin_client::load_config;
use super::exit::{Exit, print_error, print_message};
use super::local_client::{LocalClient, parse_local_url};
use super::output::OutputArgs;
use super::runtime::build_runtime;
use super::table::printable;
use super::token_input::{InputError, parse_tenant, with_tenants};
use crate::app::{ConfiguredTenantError, ConfiguredTenants};
use crate::config::{CHILD_URL, Config, env_vars};
use crate::graph::{Explanation, GraphError, explain, is_own_code};
use crate::net::tls::TlsError;
use crate::net::{HttpClientError, ListenAddr};
use crate::types::{TenantId, error_chain, is_graph_id};

/// The flags of `graphward send-test`.
#[derive(Args, Clone, Debug)]
pub(super) struct SendTestArgs {
    /// The recipient's number with its country code, such as +15550100
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    to: String,
    /// The id of the sending phone number, which is not the number itself [default: check.phone_number_id]
    #[arg(long, value_name = "ID", value_parser = id)]
    phone_number_id: Option<String>,
    /// The template to send; hello_world can be sent only from Meta's test numbers
    #[arg(long, value_name = "NAME", default_value = "hello_world", conflicts_with = "text")]
    template: String,
    /// The template's language
    #[arg(long, value_name = "CODE", default_value = "en_US", conflicts_with = "text")]
    language: String,
    /// A text to send instead of a template; it arrives only within 24 hours of the recipient's last message
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Send it as this tenant, if the sidecar has several
    #[arg(long, value_name = "NAME", value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sidecar's proxy address: IP:PORT or unix:/PATH [default: `GRAPHWARD_URL`, which `exec` sets, else the first of listen.proxy]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_local_url)]
    proxy: Option<ListenAddr>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The reason why the message was not accepted.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("no phone number id: pass --phone-number-id, or set [check] phone_number_id")]
    NoPhoneNumber,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot send the request to the sidecar at {0}; is it running?")]
    Unreachable(ListenAddr, #[source] HttpClientError),
    #[error("the sidecar refused the message: {0}")]
    Sidecar(String),
    #[error(
        "Graph got no token (code {NO_TOKEN}): set the sidecar's heal.mode to \"inject\" or \"heal\", not \"observe\""
    )]
    NoToken,
    #[error("Graph refused the message. {} {}", .0.summary, .0.remediation)]
    Graph(Explanation),
    #[error(
        "unexpected answer with status {0}: no message id and no Graph error; is --proxy the sidecar's proxy address?"
    )]
    Foreign(u16),
    #[error(
        "an answer with status {0} and no Graph error: Graph, or a proxy before it, is in trouble. Whether the message was \
         sent is unknown: look whether it arrives before you send it again"
    )]
    Outage(u16),
}

/// A message that Graph accepted.
#[derive(Debug, Eq, PartialEq)]
struct Accepted {
    id: String,
    status: Option<String>,
}

/// The version of Graph's API.
const VERSION: &str = "v25.0";
/// Graph's code for a request without a token.
const NO_TOKEN: i64 = 104;
/// The longest wait: longer than a sidecar takes for a request, a replay included.
const TIMEOUT: Duration = Duration::from_secs(150);
const TEXT_NOTE: &str = "A text arrives only within 24 hours of the recipient's last message. After that, Graph accepts it but \
                         never delivers it; send a template.";

/// Sends the message and prints its id.
pub(super) fn run(args: &SendTestArgs) -> Exit {
    if args.text.is_some() {
        print_message(TEXT_NOTE);
    }
    let (json, text, exit) = match send(args) {
        Ok(Accepted { id, status }) => {
            let json = json!({ "message_id": id, "message_status": status, "to": args.to });
            let status = status.map_or_else(String::new, |status| format!(" ({})", printable(&status)));
            let text = format!("Graph accepted the message to {}{status}: {}", args.to, printable(&id));
            (json, text, Exit::Success)
        }
        Err(error) if args.output.json => (json!({ "error": error_chain(&error) }), String::new(), error.exit()),
        Err(error) => return print_error(&error, error.exit()),
    };
    let printed = args.output.print(&json, &text);
    if printed == Exit::Success { exit } else { printed }
}

fn send(args: &SendTestArgs) -> Result<Accepted, SendError> {
    let (address, path) = (args.proxy_address()?, args.path()?);
    let runtime = build_runtime().map_err(InputError::Process)?;
    runtime.block_on(async {
        let client = LocalClient::new(&address, TIMEOUT)?;
        let answer = client.post(&path, &args.message()).await;
        let answer = answer.map_err(|error| SendError::Unreachable(address, error))?;
        read_answer(answer.status().as_u16(), answer.body())
    })
}

/// Reads the id of an accepted message, or the reason why it was not accepted.
fn read_answer(status: u16, body: &[u8]) -> Result<Accepted, SendError> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |path: &str| json.pointer(path).and_then(Value::as_str).map(str::to_owned);
    if let Some(id) = text("/messages/0/id") {
        let status = text("/messages/0/message_status");
        return Ok(Accepted { id, status });
    }
    // The admin listener answers with errors that have no code.
    let error = json.get("error").and_then(Value::as_object);
    let Some(error) = error.filter(|error| error.contains_key("code")) else {
        return Err(match status {
            500..600 => SendError::Outage(status),
            _ => SendError::Foreign(status),
        });
    };
    let code = error.get("code").and_then(Value::as_i64);
    let own = code.filter(|code| is_own_code(*code));
    Err(match (own, text("/error/message")) {
        (Some(code), Some(message)) => SendError::Sidecar(format!("{} (code {code})", printable(&message))),
        (None, _) if code == Some(NO_TOKEN) => SendError::NoToken,
        (Some(_), None) | (None, _) => SendError::Graph(explain(&GraphError::from_object(error))),
    })
}

fn number(text: &str) -> Result<String, &'static str> {
    let digits: String = text.chars().filter(|letter| !"+ -().".contains(*letter)).collect();
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        Ok(digits)
    } else {
        Err("must be a number with its country code: 7 to 15 digits")
    }
}

fn id(text: &str) -> Result<String, &'static str> {
    let error = "must be the numeric id of the phone number, which the app's dashboard shows below the number (WhatsApp > API Setup)";
    is_graph_id(text).then(|| text.to_owned()).ok_or(error)
}

// === impl SendTestArgs ===

impl SendTestArgs {
    /// The address of the sidecar: that of the flag, or of the `graphward exec` that runs this command, needs no configuration. An
    /// app's own `GRAPHWARD_URL` may name another machine.
    fn proxy_address(&self) -> Result<ListenAddr, SendError> {
        let of_exec = || parse_local_url(env_vars().get(CHILD_URL)?).ok();
        if let Some(address) = self.proxy.clone().or_else(of_exec) {
            return Ok(address.local_dial_address());
        }
        let listen = self.load()?.listen;
        // The configuration has at least one address.
        Ok(listen.proxy.first().unwrap_or(&listen.admin).local_dial_address())
    }

    /// The path of the request. The number's flag needs no configuration.
    fn path(&self) -> Result<String, SendError> {
        let id = match &self.phone_number_id {
            Some(id) => Some(id.clone()),
            None => self.configured_number_id()?,
        };
        let id = id.ok_or(SendError::NoPhoneNumber)?;
        Ok(format!("{}/{VERSION}/{id}/messages", self.tenant_prefix()?))
    }

    /// The part of the path that names the tenant, which a sidecar with the default tenant alone does not read.
    fn tenant_prefix(&self) -> Result<String, SendError> {
        let Some(id) = &self.tenant else {
            return Ok(String::new());
        };
        let config = self.load()?;
        let names: Vec<_> = config.of_tenants().into_iter().map(|(name, _)| name).collect();
        match config.tenants_from {
            None if !names.contains(id) => {
                let unknown = ConfiguredTenantError::Unknown(config.tenant_names());
                Err(InputError::from(unknown).into())
            }
            None if names == [TenantId::default()] => Ok(String::new()),
            None | Some(_) => Ok(format!("/-/{id}")),
        }
    }

    fn configured_number_id(&self) -> Result<Option<String>, InputError> {
        with_tenants(self.load()?, async |tenants: ConfiguredTenants| {
            let mut named = tenants.named().into_iter();
            let tenant = named.find(|tenant| self.tenant.as_ref().is_none_or(|id| tenant.id == *id));
            let id = tenant.map(|tenant| tenants.phone_number_id(&tenant)).transpose();
            Ok(id.map_err(ConfiguredTenantError::from)?.flatten())
        })
    }

    fn load(&self) -> Result<Config, InputError> {
        Ok(load_config(self.config.as_deref())?)
    }

    fn message(&self) -> Value {
        let template = || json!({ "name": self.template, "language": { "code": self.language } });
        let (kind, content) = match &self.text {
            Some(text) => ("text", json!({ "body": text })),
            None => ("template", template()),
        };
        json!({ "messaging_product": "whatsapp", "to": self.to, "type": kind, kind: content })
    }
}

// === impl SendError ===

impl SendError {
    fn exit(&self) -> Exit {
        use SendError::{Foreign, Graph, Input, NoPhoneNumber, NoToken, Outage, Sidecar, Tls, Unreachable};
        match self {
            Input(error) => error.exit(),
            NoPhoneNumber => Exit::Usage,
            Tls(_) | Unreachable(..) | Sidecar(_) | NoToken | Graph(_) | Foreign(_) | Outage(_) => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_however_it_is_written() {
        for text in ["+1 (555) 010-0199", "15550100199", "+1.555.010.0199"] {
            assert_eq!(number(text).as_deref(), Ok("15550100199"), "{text}");
        }
        for text in ["", "555", "+1555010019912345", "EAAGhunter2", "1555x0100199"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_explained_without_graphs_message() {
        // Graph has larger codes than graphward.
        for code in [190, 1_609_005] {
            let graph = json!({ "error": { "message": "Malformed access token EAAGhunter2", "code": code } });
            let text = read_answer(401, graph.to_string().as_bytes()).unwrap_err().to_string();
            assert!(
                text.contains(&format!("(code {code})")) && !text.contains("hunter2"),
                "{text}"
            );
        }
        let own = r#"{"error":{"message":"There is no token yet.","type":"GraphwardException","code":990003}}"#;
        let text = read_answer(503, own.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            text,
            "the sidecar refused the message: There is no token yet. (code 990003)"
        );
        for other in [
            "<html>",
            "{}",
            r#"{"messages":[]}"#,
            r#"{"error":"x"}"#,
            r#"{"error":{"message":"x"}}"#,
        ] {
            assert!(
                matches!(read_answer(200, other.as_bytes()), Err(SendError::Foreign(200))),
                "{other}"
            );
            let error = read_answer(502, other.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("unknown: look whether it arrives"), "{other}: {error}");
        }
    }
}
