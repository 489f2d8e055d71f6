mod environment;
mod errors;
mod layers;
mod refused;
mod schema;
mod secrets;
mod shown;
mod syntax;
mod tenants;
mod tenants_from;
mod token_lifecycle;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::layers::of_text;
use super::tree::Node;
use super::*;
use crate::admin::ReadinessPolicy;
use crate::graph::{ClientCredentialPolicy, OTHER_GRAPH_HOSTS, Origin};
use crate::net::HttpVersion;
use crate::proxy::{AccessLogFilter, DeadTokenPolicy, Spool};
use crate::source::decode::Format;
use crate::source::{EnvSource, FileSourceConfig, TokenSource};
use crate::telemetry::{LogFormat, LogLevel};

/// The configuration of a file, `/etc/g.toml`, or the lines of the message. The schema accepts what the program accepts.
fn read(text: &str) -> Result<Config, Vec<String>> {
    let config = of_text(text).map_err(|error| {
        let message = error.to_string();
        message.lines().skip(1).map(|line| line.trim().to_owned()).collect()
    });
    assert!(
        config.is_err() || schema::is_accepted(text),
        "the schema refuses {text}"
    );
    config
}

/// The errors of a text that is refused.
#[track_caller]
fn errors(text: &str) -> Vec<String> {
    read(text).expect_err("should be refused")
}

/// The one error of a text.
#[track_caller]
fn error(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.concat()
}

/// Each text has one error, and it says what to do.
#[track_caller]
fn each(texts: &[(&str, &str)]) {
    for (text, words) in texts {
        let said = error(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

const SIDECAR: &str = include_str!("../../config/sidecar.toml");
const MINIMAL: &str = include_str!("../../config/minimal.toml");

#[test]
fn the_files_we_ship_are_the_defaults() {
    let defaults = read("").unwrap();
    assert_eq!(read(SIDECAR).unwrap(), defaults);
    assert_eq!(read(MINIMAL).unwrap(), defaults);
    assert_eq!(defaults.upstream.hosts, OTHER_GRAPH_HOSTS);
    assert!(defaults.listen.tls.is_none() && defaults.app.secret.is_none() && defaults.app.id.is_none());
    assert_eq!(defaults.heal.spool, Spool::Directory(std::env::temp_dir()));
    assert_eq!(defaults.upstream.origin, "https://graph.facebook.com");
}

#[test]
fn sidecar_toml_shows_every_key_that_exists() {
    let (file, _) = Node::parse(&Arc::from(Path::new("config/sidecar.toml")), SIDECAR);
    let sections = file.entries().iter();
    let shown: BTreeSet<_> = sections
        .flat_map(|(section, table)| table.entries().iter().map(move |(key, _)| format!("{section}.{key}")))
        .collect();
    let keys = Keys::new();
    // Those of a section that is not set are in its comment.
    let is_set = |path: &&String| path.split('.').count() == 2 && !path.starts_with("tenants_from.");
    let (settings, below): (Vec<_>, Vec<_>) = keys.settings.iter().partition(is_set);
    let settings: BTreeSet<_> = settings.into_iter().cloned().collect();
    assert_eq!(shown, settings);
    for path in below {
        let (_, key) = path.rsplit_once('.').unwrap();
        assert!(SIDECAR.contains(&format!("{key} = ")), "{path}");
    }
}

#[test]
fn the_handling_of_requests_with_a_dead_token_can_be_chosen() {
    for (text, expected) in [
        ("", DeadTokenPolicy::Probe),
        ("[heal]\ndead_token = \"probe\"", DeadTokenPolicy::Probe),
        ("[heal]\ndead_token = \"forward\"", DeadTokenPolicy::Forward),
        ("[heal]\ndead_token = \"refuse\"", DeadTokenPolicy::Refuse),
    ] {
        assert_eq!(read(text).unwrap().heal.dead_token, expected);
    }
}

#[test]
fn every_key_can_be_changed() {
    let config = read(
        r#"
        [listen]
        proxy = ["localhost:1", "unix:/run/p.sock"]
        admin = "unix:/run/a.sock"
        allowed_hosts = ["Graph.Local"]
        tls = { cert = "c.pem", key = "k.pem" }
        tunnel_hosts = ["Api.Example.com"]
        max_connections = 64
        [upstream]
        origin = "https://[::1]:8443/"
        ca_file = "ca.pem"
        http = "1.1"
        via = true
        connect_timeout = "1ms"
        head_timeout = "1d"
        idle_timeout = "2m"
        connect_to = { "Graph.facebook.com" = "127.0.0.1:1", "[::1]" = "[::1]:2" }
        [heal]
        token_wait = "0s"
        hold_timeout = "10m"
        body_memory = 0
        memory_total = "0"
        body_disk = "1B"
        disk_total = "1TiB"
        spool_dir = "/var/spool"
        client_credentials = "keep"
        [ready]
        tokens = "ignore"
        [log]
        format = "text"
        level = "trace"
        requests = "all"
        "#,
    )
    .unwrap();
    let listen = &config.listen;
    assert_eq!(listen.proxy[0].to_string(), "127.0.0.1:1");
    assert_eq!(listen.proxy[1].to_string(), "unix:/run/p.sock");
    assert_eq!(listen.admin.to_string(), "unix:/run/a.sock");
    assert_eq!(listen.allowed_hosts, ["graph.local"]);
    let tls = listen.tls.as_ref().unwrap();
    assert_eq!(
        (tls.cert.as_path(), tls.key.as_path()),
        (Path::new("/etc/c.pem"), Path::new("/etc/k.pem"))
    );
    assert_eq!(listen.tunnel_hosts, ["api.example.com"]);
    let upstream = &config.upstream;
    assert_eq!(upstream.origin, "https://[::1]:8443");
    let origin = Origin::parse(&upstream.origin).unwrap();
    assert_eq!((origin.authority().as_str(), origin.host()), ("[::1]:8443", "[::1]"));
    assert_eq!(upstream.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(upstream.settings.http, HttpVersion::Http1);
    assert_eq!(config.listen.max_connections.get(), 64);
    assert!(upstream.via);
    assert_eq!(upstream.connect_timeout, Duration::from_millis(1));
    assert_eq!(upstream.settings.head_timeout, Duration::from_secs(86_400));
    assert_eq!(upstream.idle_timeout, Duration::from_secs(120));
    assert_eq!(upstream.connect_to["graph.facebook.com"], "127.0.0.1:1");
    assert_eq!(upstream.connect_to["::1"], "[::1]:2");
    let heal = &config.heal;
    assert_eq!(
        (heal.token_wait, heal.hold_timeout),
        (Duration::ZERO, Duration::from_secs(600))
    );
    assert_eq!((heal.body_memory, heal.memory_total), (0, 0));
    assert_eq!((heal.body_disk, heal.disk_total), (1, 1 << 40));
    assert_eq!(heal.spool, Spool::Directory(PathBuf::from("/var/spool")));
    assert_eq!(heal.client_credentials, ClientCredentialPolicy::Keep);
    assert_eq!(config.ready.tokens, ReadinessPolicy::Ignore);
    assert_eq!(config.log.output.format, LogFormat::Text);
    assert_eq!(config.log.output.level, LogLevel::Trace);
    assert_eq!(config.log.requests, AccessLogFilter::All);
}
