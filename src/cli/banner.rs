//! The lines that `graphward serve` and `exec` print on a terminal once requests are served: the address, the token, and what to do
//! with both.
//!
//! # Why
//!
//! The log says the same in more words. A person who starts graphward for the first time needs the address for the app, and a
//! command to see that it works. What is said of the token is what the sidecar's own admin listener answers, as for
//! `graphward status`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::absolute;

use http::{HeaderValue, Method};
use serde_json::json;

use super::admin_client::{AdminClient, FIND_TIMEOUT};
use super::status::Answer;
use super::table::Tone;
use crate::app::{ServerHandle, admin_authorization};
use crate::config::{Config, Overrides};
use crate::net::{ListenAddr, Stage};
use crate::telemetry::{LogFormat, LogOutput};
use crate::types::shell_word;

/// What the banner says besides the state of the token.
#[derive(Clone, Debug)]
pub(super) struct Banner {
    proxy: ListenAddr,
    admin: ListenAddr,
    /// Proves that the command may look, if the listener has a key.
    authorization: Option<HeaderValue>,
    origin: String,
    /// The command that replaces the token.
    replace: String,
    /// Whether the admin address is one that this command would not find.
    names_admin: bool,
    /// Where the log goes, too.
    output: LogOutput,
}

impl Banner {
    /// The banner of a sidecar, unless its log is not for a person.
    pub(super) fn new(config: &Config, flags: &Overrides, output: LogOutput) -> Option<Self> {
        let is_for_person = output.is_terminal() && config.log.output.format != LogFormat::Json;
        let proxy = config.listen.proxy.first()?.clone();
        let tenant = if config.has_default_tenant {
            ""
        } else {
            " --tenant NAME"
        };
        is_for_person.then(|| Self {
            proxy,
            admin: config.listen.admin.clone(),
            authorization: admin_authorization(config).ok().flatten(),
            origin: config.upstream.origin.clone(),
            replace: replacing_command(flags) + tenant,
            names_admin: flags.admin.is_some() || matches!(output, LogOutput::Stderr),
            output,
        })
    }

    /// Prints the banner once requests are served.
    pub(super) async fn print(self, handle: ServerHandle) {
        handle.lifecycle.wait_for(Stage::Serving).await;
        let bound = |address: Option<SocketAddr>, configured| address.map_or(configured, ListenAddr::Tcp);
        let admin = bound(handle.admin, self.admin.clone());
        let answer = async {
            let client = AdminClient::new(&admin, FIND_TIMEOUT, self.authorization.clone()).ok()?;
            let answer = client.request(Method::GET, "/admin/token-status?limit=1", b"").await;
            Answer::new(&answer.ok()?)
        };
        let token = answer.await.map(|answer| answer.summary());
        let token = token.unwrap_or_else(|| "unknown: see `graphward status`".to_owned());
        let proxy = bound(handle.proxy.first().copied(), self.proxy.clone());
        let text = self.text(&proxy, &admin, &token);
        // A terminal that is gone reads no banner.
        drop(match self.output {
            LogOutput::Stdout => anstream::stdout().write_all(text.as_bytes()),
            LogOutput::Stderr => anstream::stderr().write_all(text.as_bytes()),
        });
    }

    fn text(&self, proxy: &ListenAddr, admin: &ListenAddr, token: &str) -> String {
        let url = proxy.local_url();
        let curl = match proxy {
            ListenAddr::Tcp(_) => format!("curl {url}"),
            ListenAddr::Unix(path) => format!("curl --unix-socket {} http://localhost", shell_word(path.display())),
        };
        let next = match self.output {
            LogOutput::Stdout => ("try:", format!("{curl}/v25.0/me")),
            // The command of `exec` is what tries it.
            LogOutput::Stderr => ("admin:", admin.local_url()),
        };
        let admin = self
            .names_admin
            .then(|| format!("GRAPHWARD_ADMIN={} ", shell_word(admin)));
        let lines = [
            ("address:", format!("{url} instead of {}", self.origin)),
            ("token:", token.to_owned()),
            next,
            ("replace it:", admin.unwrap_or_default() + &self.replace),
        ];
        let line = |(label, text)| format!("{} {text}\n", Tone::Heading.paint(&format!("{label:<11}")));
        lines.map(line).concat()
    }
}

/// The command that replaces the token, with the flags that the sidecar has. It works in each directory.
fn replacing_command(flags: &Overrides) -> String {
    let config = flags.config.iter().map(|path| ("config".to_owned(), json!(path)));
    let graph = json!(flags.graph).as_object().cloned().into_iter().flatten();
    let set = config.chain(graph).filter_map(|(flag, value)| {
        let (flag, value) = (flag.replace('_', "-"), value.as_str()?.to_owned());
        let is_path = flag == "config" || flag.ends_with("-file");
        let path = absolute(&value).ok().filter(|_| is_path);
        let value = path.map_or(value, |path| path.display().to_string());
        Some(format!(" --{flag} {}", shell_word(value)))
    });
    format!("graphward token set{}", set.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GraphOverrides;

    #[test]
    fn the_command_that_replaces_the_token_works_in_each_directory_and_each_path_is_one_word() {
        let flags = Overrides {
            config: Some("/my app/graphward.toml".into()),
            graph: GraphOverrides {
                origin: Some("https://127.0.0.1:8443".to_owned()),
                token_file: Some("/it's".to_owned()),
                ca_file: Some("ca.pem".to_owned()),
                ..GraphOverrides::default()
            },
            ..Overrides::default()
        };
        let ca_file = shell_word(absolute("ca.pem").unwrap().display());
        let expected = format!("graphward token set --config '/my app/graphward.toml' --ca-file {ca_file}");
        let expected = expected + r" --origin https://127.0.0.1:8443 --token-file '/it'\''s'";
        assert_eq!(replacing_command(&flags), expected);
    }

    #[test]
    fn a_banner_has_four_lines() {
        let banner = |output| Banner {
            proxy: ListenAddr::Unix("/run/p.sock".into()),
            admin: ListenAddr::Unix("/run/a.sock".into()),
            authorization: None,
            origin: "https://graph.facebook.com".to_owned(),
            replace: "graphward token set --token-file token".to_owned(),
            names_admin: matches!(output, LogOutput::Stderr),
            output,
        };
        let text = |output, proxy: &ListenAddr| {
            let banner = banner(output);
            let text = banner.text(proxy, &banner.admin, "da273344");
            anstream::adapter::strip_str(&text).to_string()
        };
        let tcp = "0.0.0.0:8080".parse().unwrap();
        let expected = "\
address:    http://127.0.0.1:8080 instead of https://graph.facebook.com
token:      da273344
try:        curl http://127.0.0.1:8080/v25.0/me
replace it: graphward token set --token-file token
";
        assert_eq!(text(LogOutput::Stdout, &tcp), expected);
        let try_it = "try:        curl http://127.0.0.1:8080/v25.0/me\n";
        let of_exec = expected.replace(try_it, "admin:      unix:/run/a.sock\n");
        let of_exec = of_exec.replace("graphward token", "GRAPHWARD_ADMIN=unix:/run/a.sock graphward token");
        assert_eq!(text(LogOutput::Stderr, &tcp), of_exec);
        for (path, word) in [("/run/p.sock", "/run/p.sock"), ("/my app/p.sock", "'/my app/p.sock'")] {
            let text = text(LogOutput::Stdout, &ListenAddr::Unix(path.into()));
            let expected = format!("curl --unix-socket {word} http://localhost/v25.0/me\n");
            assert!(text.contains(&expected), "{text}");
        }
    }
}
