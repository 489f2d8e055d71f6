//! `graphward ca`: creates a certificate for Graph's host names, signed by a throw-away CA.
//!
//! # Why
//!
//! The key of a CA that a machine trusts can impersonate any host to that machine. So this CA's key is never written: it
//! signs one certificate and is dropped, and cannot be stolen. The CA's certificate is also constrained to Graph's host
//! names and localhost (OpenSSL, Node, Python, Go, Java and rustls enforce that). Only the leaf's key has to be guarded, and
//! it can impersonate Graph only to clients that trust this CA.
//!
//! `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE` and `CURL_CA_BUNDLE` replace the system roots instead of adding to them. An app
//! that gets `ca.pem` there trusts no other host any more, so a bundle of both is written, too.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueHint;
use serde_json::json;
use zeroize::Zeroizing;

use super::exit::{Exit, print_error};
use super::file::write_file;
use super::output::OutputArgs;
use crate::graph::OTHER_GRAPH_HOSTS;
use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
use crate::types::{Clock, shell_word};

/// Creates a certificate for Graph's host names and localhost, signed by a throw-away CA whose key is not kept; for clients
/// that require https or Graph's own host name.
///
/// Writes ca.pem (for clients to trust), cert.pem and key.pem (for `[listen] tls`), and bundle.pem (the system roots and
/// ca.pem, for variables that replace the system roots).
#[derive(Debug, clap::Args)]
pub(super) struct CaArgs {
    /// Output directory; created if missing
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Additional host names or addresses for graphward
    #[arg(long = "name", value_name = "HOST", num_args = 1.., value_parser = name)]
    names: Vec<String>,
    /// Validity in days; some clients reject more than 825
    #[arg(long, value_name = "N", default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Overwrite existing files; clients then need the new ca.pem
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// The reason why no certificate was created.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaError {
    #[error("`{}` already exists; use --force to replace it (clients then need the new ca.pem)", .0.display())]
    Exists(PathBuf),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot create a certificate")]
    Generate(#[from] CertificateError),
}

/// The file names.
pub(super) const CA_FILE: &str = "ca.pem";
pub(super) const CERT_FILE: &str = "cert.pem";
pub(super) const KEY_FILE: &str = "key.pem";
pub(super) const BUNDLE_FILE: &str = "bundle.pem";

/// The CA bundles of Debian and Alpine, Fedora, SUSE, BSD and macOS.
const SYSTEM_CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes the files and prints what to do with them.
pub(super) fn run(args: &CaArgs) -> Exit {
    match generate(args, &Clock::system()) {
        Ok(printed) => printed,
        Err(error @ CaError::Exists(_)) => print_error(&error, Exit::Usage),
        Err(error) => print_error(&error, Exit::Failed),
    }
}

fn generate(args: &CaArgs, clock: &Clock) -> Result<Exit, CaError> {
    let paths = [CA_FILE, CERT_FILE, KEY_FILE, BUNDLE_FILE].map(|name| args.out.join(name));
    if let Some(path) = paths.into_iter().find(|path| path.exists())
        && !args.force
    {
        return Err(CaError::Exists(path));
    }
    std::fs::create_dir_all(&args.out).map_err(|source| CaError::Write(args.out.clone(), source))?;
    let ca = write_certificate(&args.out, &args.names, args.days, clock)?;
    let system_roots = system_roots();
    if let Some(roots) = &system_roots {
        write(&args.out, BUNDLE_FILE, &format!("{}\n{ca}", roots.trim_end()), 0o644)?;
    }
    let out = args.out.canonicalize().unwrap_or_else(|_absent| args.out.clone());
    let bundle = system_roots.as_ref().map(|_| out.join(BUNDLE_FILE));
    let [ca, cert, key] = [CA_FILE, CERT_FILE, KEY_FILE].map(|name| out.join(name));
    let files = json!({ "days": args.days, "ca": ca, "cert": cert, "key": key, "bundle": bundle });
    let text = instructions(&out, args.days, system_roots.as_deref());
    Ok(args.output.print(&files, &text))
}

/// Writes a certificate for Graph's host names and further ones, its key, and the certificate of its CA, which is returned.
pub(super) fn write_certificate(out: &Path, names: &[String], days: u32, clock: &Clock) -> Result<String, CaError> {
    let mut leaf = CertSpec::for_graph(clock);
    // A client whose clock is a little slow accepts it, too. Some clients count the days from start to end.
    leaf.not_before = clock.now() - DAY / 24;
    leaf.not_after = leaf.not_before + DAY * days;
    for name in names {
        if !leaf.names.contains(name) {
            leaf.names.push(name.clone());
        }
    }
    let authority = CertAuthority::constrained_to(&leaf)?;
    let signed = authority.sign(&leaf)?;

    // The key first: a sidecar that watches both files sees a matching pair when the certificate changes.
    let key = Zeroizing::new(signed.signing_key.serialize_pem());
    write(out, KEY_FILE, &key, 0o600)?;
    let chain = format!("{}{}", signed.cert.pem(), authority.pem());
    write(out, CERT_FILE, &chain, 0o644)?;
    write(out, CA_FILE, authority.pem(), 0o644)?;
    Ok(authority.pem().to_owned())
}

fn write(out: &Path, name: &str, text: &str, mode: u32) -> Result<(), CaError> {
    let path = out.join(name);
    write_file(&path, text, mode).map_err(|source| CaError::Write(path, source))
}

/// Returns the system's roots in PEM, if they are in one of the known files.
pub(super) fn system_roots() -> Option<String> {
    let mut bundles = SYSTEM_CA_BUNDLES
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    bundles.find(|text| text.contains("-----BEGIN CERTIFICATE-----"))
}

/// Returns the text that says how to use the files.
fn instructions(out: &Path, days: u32, system_roots: Option<&str>) -> String {
    let file = |name: &str| out.join(name).display().to_string();
    let (ca, cert, key) = (file(CA_FILE), file(CERT_FILE), file(KEY_FILE));
    let (bundle_note, trust_file) = if system_roots.is_some() {
        let note = "These variables replace the system roots, so use the bundle (system roots plus ca.pem).\nRecreate it \
                    when the system roots change:";
        (note, file(BUNDLE_FILE))
    } else {
        let note =
            "No system roots were found. These variables replace the app's roots: it will trust no other https host.";
        (note, ca.clone())
    };
    let [added, trust_file] = [&ca, &trust_file].map(shell_word);
    // Only the hosts that the default `upstream.hosts` serves; requests to others would be refused.
    let hosts = OTHER_GRAPH_HOSTS.join(" ");
    format!(
        "\
Created, valid for {days} days. In graphward.toml:

  [listen]
  tls = {{ cert = \"{cert}\", key = \"{key}\" }}

The app has to trust {ca}.
The CA key was not kept, so no further certificate can be signed. For Node, which adds it to the built-in roots:

  export NODE_EXTRA_CA_CERTS={added}

{bundle_note}

  export REQUESTS_CA_BUNDLE={trust_file}   # Python: requests
  export SSL_CERT_FILE={trust_file}        # Python: httpx, aiohttp; Go, Ruby, OpenSSL
  export CURL_CA_BUNDLE={trust_file}       # curl

Then, one of these:

  1. The app's base URL: https://localhost:8080
  2. A proxy, for an app whose base URL cannot be changed. Add hosts that are not Graph's to NO_PROXY, or to
     listen.tunnel_hosts:

  export HTTPS_PROXY=http://127.0.0.1:8080

  3. A line in the app's hosts file, with graphward on port 443 (listen.proxy = \"127.0.0.1:443\"). graphward itself must
     not read that hosts file, or it connects to itself:

  127.0.0.1 graph.facebook.com {hosts}

     Add other Graph hosts, such as graph.beta.facebook.com, to upstream.hosts as well."
    )
}

/// Parses a host name or an IP address for the certificate.
fn name(text: &str) -> Result<String, &'static str> {
    let name = text.to_ascii_lowercase();
    let is_name = rustls::pki_types::ServerName::try_from(name.as_str()).is_ok();
    is_name.then_some(name).ok_or("not a host name or IP address")
}
