//! From what was said to a [`Config`]: every key, its default, its limits, and what must agree with what.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::address::BindAddress;
use super::alerts::alerts;
use super::app::app;
use super::call::texts;
use super::fault::{Fault, quote};
use super::file::{Said, Value};
use super::hosts;
use super::layers::{Layers, shown};
use super::place::Provenance;
use super::read::{choice, duration, number, size, switch, text};
use super::settings::{Config, HealConfig, ListenConfig, LogConfig, UpstreamConfig};
use super::tls::tls_files;
use super::token;
use super::units::format_size;
use crate::admin::ReadinessPolicy;
use crate::graph::{ClientCredentialPolicy, OTHER_GRAPH_HOSTS};
use crate::net::HttpVersion;
use crate::proxy::{AccessLogFilter, DeadTokenPolicy, LinkRewriteConfig, Spool};
use crate::telemetry::{LogFormat, LogLevel, LogSettings};

/// A valid configuration and where each value of it was said, or every fault there is.
pub(super) fn resolve(mut said: Layers) -> Result<(Config, BTreeMap<&'static str, Provenance>), Vec<Fault>> {
    let config = ask(&mut said);
    check(&config, &mut said);
    said.close().map(|places| (config, places))
}

/// Asks for every key there is.
pub(super) fn ask(said: &mut Layers) -> Config {
    Config {
        listen: listen(said),
        upstream: upstream(said),
        app: app(said),
        token: token::token(said),
        heal: heal(said),
        links: LinkRewriteConfig {
            media: said.ask("links.media", true, switch),
            paging: said.ask("links.paging", false, switch),
        },
        ready: said.ask("ready.tokens", ReadinessPolicy::Any, |value| {
            let words = [
                ("any", ReadinessPolicy::Any),
                ("all", ReadinessPolicy::All),
                ("ignore", ReadinessPolicy::Ignore),
            ];
            choice(value, &words)
        }),
        alerts: alerts(said),
        log: log(said),
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(25),
    }
}

fn listen(said: &mut Layers) -> ListenConfig {
    ListenConfig {
        proxy: said.ask_whole(
            "listen.proxy",
            vec![BindAddress::Tcp(([127, 0, 0, 1], 8080).into())],
            listeners,
        ),
        admin: said.ask("listen.admin", BindAddress::Tcp(([127, 0, 0, 1], 9080).into()), address),
        allowed_hosts: said.ask_whole("listen.allowed_hosts", Vec::new(), |said, faults| {
            texts("listen.allowed_hosts", said, faults, hosts::host)
        }),
        tls: said.ask_whole("listen.tls", None, tls_files),
        tunnel_hosts: said.ask_whole("listen.tunnel_hosts", Vec::new(), |said, faults| {
            texts("listen.tunnel_hosts", said, faults, hosts::host)
        }),
    }
}

fn upstream(said: &mut Layers) -> UpstreamConfig {
    let timeout = |value: &Value| duration(value, &TIMEOUT);
    let origin = said.ask("upstream.origin", GRAPH.to_owned(), |value| hosts::origin(text(value)?));
    let beside = if origin == GRAPH {
        OTHER_GRAPH_HOSTS.map(str::to_owned).to_vec()
    } else {
        Vec::new()
    };
    UpstreamConfig {
        origin,
        hosts: said.ask_whole("upstream.hosts", beside, |said, faults| {
            texts("upstream.hosts", said, faults, hosts::host)
        }),
        ca_file: said.ask("upstream.ca_file", None, |value| {
            let path = text(value)?;
            Ok((!path.is_empty()).then(|| PathBuf::from(path)))
        }),
        http: said.ask("upstream.http", HttpVersion::Auto, |value| {
            let words = [
                ("auto", HttpVersion::Auto),
                ("1.1", HttpVersion::Http1),
                ("2", HttpVersion::Two),
            ];
            choice(value, &words)
        }),
        connections: said.ask("upstream.connections", NonZeroUsize::MIN, |value| {
            let lanes = number(value, &(1..=64))?;
            let lanes = usize::try_from(lanes).ok().and_then(NonZeroUsize::new);
            lanes.ok_or_else(|| "must be at least 1".to_owned())
        }),
        via: said.ask("upstream.via", false, switch),
        connect_timeout: said.ask("upstream.connect_timeout", Duration::from_secs(5), timeout),
        head_timeout: said.ask("upstream.head_timeout", Duration::from_secs(60), timeout),
        idle_timeout: said.ask("upstream.idle_timeout", Duration::from_secs(60), timeout),
        connect_to: said.ask_whole("upstream.connect_to", HashMap::new(), connect_to),
    }
}

const GRAPH: &str = "https://graph.facebook.com";

/// Nothing happens in no time, and past a day a limit is none.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

fn heal(said: &mut Layers) -> HealConfig {
    let wait = |value: &Value| duration(value, &WAIT);
    let memory = |value: &Value| size(value, 1 << 30);
    let large = |value: &Value| size(value, 1 << 40);
    HealConfig {
        token_wait: said.ask("heal.token_wait", Duration::from_secs(5), wait),
        hold_timeout: said.ask("heal.hold_timeout", Duration::from_secs(2), wait),
        dead_token: said.ask("heal.dead_token", DeadTokenPolicy::Probe, |value| {
            let words = [
                ("probe", DeadTokenPolicy::Probe),
                ("forward", DeadTokenPolicy::Forward),
                ("refuse", DeadTokenPolicy::Refuse),
            ];
            choice(value, &words)
        }),
        body_memory: said.ask("heal.body_memory", 1 << 20, memory),
        memory_total: said.ask("heal.memory_total", 64 << 20, large),
        body_disk: said.ask("heal.body_disk", 128 << 20, large),
        disk_total: said.ask("heal.disk_total", 1 << 30, large),
        spool: said.ask(
            "heal.spool_dir",
            Spool::Directory(std::env::temp_dir()),
            |value| match text(value)? {
                "" => Ok(Spool::Directory(std::env::temp_dir())),
                "off" => Ok(Spool::Off),
                path if path.starts_with('/') => Ok(Spool::Directory(PathBuf::from(path))),
                other => Err(format!(
                    "must be \"off\", the full path of a directory, or \"\" for the system's temporary one, not {}",
                    quote(other)
                )),
            },
        ),
        client_credentials: said.ask("heal.client_credentials", ClientCredentialPolicy::Replace, |value| {
            let words = [
                ("replace", ClientCredentialPolicy::Replace),
                ("refuse", ClientCredentialPolicy::Refuse),
                ("keep", ClientCredentialPolicy::Keep),
            ];
            choice(value, &words)
        }),
    }
}

/// An app that waits longer than ten minutes for a token has long given up.
const WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10 * 60);

fn log(said: &mut Layers) -> LogConfig {
    let format = said.ask("log.format", LogFormat::Auto, |value| {
        let words = [
            ("auto", LogFormat::Auto),
            ("json", LogFormat::Json),
            ("text", LogFormat::Text),
        ];
        choice(value, &words)
    });
    let level = said.ask("log.level", LogLevel::Info, |value| {
        let words = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        choice(value, &words)
    });
    let requests = said.ask("log.requests", AccessLogFilter::Problems, |value| {
        let words = [
            ("none", AccessLogFilter::None),
            ("problems", AccessLogFilter::Problems),
            ("all", AccessLogFilter::All),
        ];
        choice(value, &words)
    });
    LogConfig {
        settings: LogSettings { format, level },
        requests,
    }
}

/// What each value cannot know about the others.
fn check(config: &Config, said: &mut Layers) {
    let ListenConfig { proxy, admin, .. } = &config.listen;
    if let Some(same) = proxy.iter().find(|proxy| proxy.conflicts_with(admin)) {
        let what = format!(
            "the admin listener ({admin}) and a proxy listener ({same}) cannot share an address: give one of them \
             another"
        );
        said.contradiction(["listen.admin", "listen.proxy"], what);
    }
    if config.listen.tls.is_none() && !config.listen.tunnel_hosts.is_empty() {
        let what = "is for listeners with `tls`, as only those open tunnels: set `tls`, or remove this";
        said.contradiction(["listen.tunnel_hosts", "listen.tls"], what.to_owned());
    }
    token::check(&config.token, &config.app, said);
    let heal = &config.heal;
    if heal.body_memory > heal.memory_total {
        let what = exceeds("body_memory", heal.body_memory, "memory_total", heal.memory_total);
        said.contradiction(["heal.body_memory", "heal.memory_total"], what);
    }
    if heal.body_disk > heal.disk_total {
        let what = exceeds("body_disk", heal.body_disk, "disk_total", heal.disk_total);
        said.contradiction(["heal.body_disk", "heal.disk_total"], what);
    }
}

fn exceeds(one: &str, bytes: u64, all: &str, limit: u64) -> String {
    format!(
        "one request's `{one}` ({}) is more than `{all}` ({}), which is for all of them: lower the one or raise the \
         other",
        format_size(bytes),
        format_size(limit)
    )
}

fn listeners(said: &Said, faults: &mut Vec<Fault>) -> Option<Vec<BindAddress>> {
    const KEY: &str = "listen.proxy";
    let one = std::slice::from_ref(said);
    let items = match &said.value {
        Value::List(items) => items.as_slice(),
        Value::Text(_) | Value::Number(_) | Value::Switch(_) | Value::Table(_) | Value::Fraction | Value::Date => one,
    };
    let before = faults.len();
    let mut addresses: Vec<BindAddress> = Vec::new();
    for item in items {
        match address(&item.value) {
            Ok(address) => {
                if let Some(other) = addresses.iter().find(|other| other.conflicts_with(&address)) {
                    let what = format!("{address} is listened on twice ({other}): remove one");
                    faults.push(Fault::new(&item.place, KEY, what));
                }
                addresses.push(address);
            }
            Err(what) => faults.push(Fault::new(&item.place, KEY, what)),
        }
    }
    if items.is_empty() {
        let what = "must name at least one address, such as \"127.0.0.1:8080\"";
        faults.push(Fault::new(&said.place, KEY, what));
    }
    (faults.len() == before).then_some(addresses)
}

fn address(value: &Value) -> Result<BindAddress, String> {
    let address = text(value)?.parse::<BindAddress>();
    address.map_err(|error| error.to_string())
}

fn connect_to(said: &Said, faults: &mut Vec<Fault>) -> Option<HashMap<String, String>> {
    const KEY: &str = "upstream.connect_to";
    let Value::Table(entries) = &said.value else {
        let what = format!(
            "must be a table of hosts, \"graph.facebook.com\" = \"127.0.0.1:18443\", not {}",
            said.value.kind()
        );
        faults.push(Fault::new(&said.place, KEY, what));
        return None;
    };
    let before = faults.len();
    let mut detours = HashMap::new();
    for entry in entries {
        let key = format!("{KEY}.{}", shown(&entry.key));
        let mut wrong = |what: String| faults.push(Fault::new(&entry.said.place, &key, what));
        let host = hosts::host(&entry.key).map_err(|what| format!("its key {what}"));
        let address = text(&entry.said.value).and_then(hosts::host_port);
        match (host, address) {
            (Ok(host), Ok(address)) => {
                // The dialler looks a host up without its brackets.
                let host = host.trim_start_matches('[').trim_end_matches(']');
                if detours.insert(host.to_owned(), address).is_some() {
                    wrong("is there twice, as case does not matter in names".to_owned());
                }
            }
            (host, address) => [host.err(), address.err()].into_iter().flatten().for_each(wrong),
        }
    }
    (faults.len() == before).then_some(detours)
}

#[cfg(test)]
mod tests;
