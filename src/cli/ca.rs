//! `graphward ca`: a certificate for Graph's names that only those trust who are told to.
//!
//! # Why
//!
//! Whoever has the key of a CA that a machine trusts can be anybody to that machine. So this CA's key is never written: it
//! signs one certificate and is gone, and nobody can steal it. Its certificate also says that it vouches for Graph's
//! names and this machine's only (OpenSSL, Node, Python, Go, Java and rustls hold it to that). What is left to guard is
//! the leaf's key, and with that one can be Graph only to those who trust this CA.
//!
//! `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE` and `CURL_CA_BUNDLE` replace the system's roots instead of adding to them. An app
//! that gets `ca.pem` there trusts nobody else any more, so a bundle of both is written as well.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueHint;

use super::exit::Exit;
use crate::graph::OTHER_GRAPH_HOSTS;
use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
use crate::types::Clock;

/// Makes a certificate for Graph's host names and this machine's, signed by a CA of its own whose key is thrown away:
/// for clients that insist on https, or on Graph's address.
///
/// Writes ca.pem (for clients to trust), cert.pem and key.pem (for `[listen] tls`), and bundle.pem (the system's roots and
/// ca.pem, for variables that replace the system's).
#[derive(Debug, clap::Args)]
pub struct CaArgs {
    /// The directory to write to; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Further names or addresses under which apps call graphward
    #[arg(long = "name", value_name = "HOST", num_args = 1.., value_parser = name)]
    names: Vec<String>,
    /// How many days it is valid; some clients take no certificate of more than 825
    #[arg(long, value_name = "N", default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace what an earlier run wrote; clients then need the new ca.pem
    #[arg(long)]
    force: bool,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
enum CaError {
    #[error("{} is there already: --force replaces it, and clients then need the new ca.pem", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate")]
    Generate(#[from] CertificateError),
    #[error("cannot say what was made")]
    Stdout(#[source] io::Error),
}

/// The names of the files.
const CA_FILE: &str = "ca.pem";
const CERT_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const BUNDLE_FILE: &str = "bundle.pem";

/// Where systems keep their roots: Debian and Alpine, Fedora, SUSE, BSD and macOS.
const SYSTEM_CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the files and says what to do with them.
pub(super) fn run(args: &CaArgs) -> ExitCode {
    let error = match generate(args, &Clock::system()) {
        Ok(()) => return Exit::Success.into(),
        Err(error) => error,
    };
    let exit = match error {
        CaError::Exists { .. } | CaError::Write { .. } => Exit::Usage,
        CaError::Generate(_) | CaError::Stdout(_) => Exit::Failed,
    };
    super::serve::print_error(&error, exit).into()
}

fn generate(args: &CaArgs, clock: &Clock) -> Result<(), CaError> {
    let output_path = |name: &str| args.out.join(name);
    let paths = [CA_FILE, CERT_FILE, KEY_FILE, BUNDLE_FILE].map(output_path);
    if let Some(path) = paths.into_iter().find(|path| path.exists())
        && !args.force
    {
        return Err(CaError::Exists { path });
    }
    std::fs::create_dir_all(&args.out).map_err(|source| CaError::Write {
        path: args.out.clone(),
        source,
    })?;

    let mut leaf = CertSpec::for_graph(clock);
    // A clock that is a little late takes it, too; and some clients count the days from end to end.
    leaf.not_before = clock.now() - DAY / 24;
    leaf.not_after = leaf.not_before + DAY * args.days;
    for name in &args.names {
        if !leaf.names.contains(name) {
            leaf.names.push(name.clone());
        }
    }
    let authority = CertAuthority::constrained_to(&leaf)?;
    let signed = authority.sign(&leaf)?;

    // The key first: a sidecar that watches the pair sees a whole one when the certificate comes.
    write_file(&args.out, KEY_FILE, &signed.key(), 0o600)?;
    let chain = format!("{}{}", signed.certificate(), authority.pem());
    write_file(&args.out, CERT_FILE, &chain, 0o644)?;
    write_file(&args.out, CA_FILE, authority.pem(), 0o644)?;
    let system_roots = SYSTEM_CA_BUNDLES.iter().find_map(read_ca_bundle);
    if let Some(roots) = &system_roots {
        let bundle = format!("{}\n{}", roots.trim_end(), authority.pem());
        write_file(&args.out, BUNDLE_FILE, &bundle, 0o644)?;
    }
    let out = args.out.canonicalize().unwrap_or_else(|_absent| args.out.clone());
    let text = instructions(&out, args.days, system_roots.is_some());
    io::stdout().write_all(text.as_bytes()).map_err(CaError::Stdout)
}

/// The system's roots, if this is where it keeps them.
fn read_ca_bundle(path: &&str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.contains("-----BEGIN CERTIFICATE-----").then_some(text)
}

/// Puts a file in place, whole or not at all.
fn write_file(dir: &Path, name: &str, text: &str, mode: u32) -> Result<(), CaError> {
    let path = dir.join(name);
    let write = || {
        // It is its owner's alone until it is in place.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| CaError::Write {
        path: path.clone(),
        source,
    })
}

/// What to do with it.
fn instructions(out: &Path, days: u32, has_bundle: bool) -> String {
    let file = |name: &str| out.join(name).display().to_string();
    let (ca, cert, key) = (file(CA_FILE), file(CERT_FILE), file(KEY_FILE));
    let bundle = file(BUNDLE_FILE);
    // Only those that are served unless `upstream.hosts` says otherwise: the rest would be refused.
    let hosts = OTHER_GRAPH_HOSTS.join(" ");
    let first = format!(
        "\
Made, valid for {days} days. In graphward.toml:

  [listen]
  tls = {{ cert = \"{cert}\", key = \"{key}\" }}

{ca} is for the app, which has to trust it.
The CA's own key is gone, so it can sign nothing else. For Node, which adds it to its roots:

  export NODE_EXTRA_CA_CERTS={ca}

"
    );
    let bundle_note = if has_bundle {
        "These replace the system's roots; so here is a copy of them, with ca.pem. Make it anew when the system's change:"
    } else {
        "No roots of the system were found to copy. These replace the app's roots: it will trust no other https host."
    };
    let trust_file = if has_bundle { &bundle } else { &ca };
    let second = format!(
        "\
{bundle_note}

  export REQUESTS_CA_BUNDLE={trust_file}   # Python: requests
  export SSL_CERT_FILE={trust_file}        # Python: httpx, aiohttp; Go, Ruby, OpenSSL
  export CURL_CA_BUNDLE={trust_file}           # curl

Then, one of these:

  1. The app's base URL: https://localhost:8080
  2. A proxy, for an app whose base URL cannot be changed. Hosts that are not Graph's go in NO_PROXY, or in
     listen.tunnel_hosts:

  export HTTPS_PROXY=http://127.0.0.1:8080

  3. A line in the app's hosts file, with graphward on port 443 (listen.proxy = \"127.0.0.1:443\"). Not where graphward
     itself would read it, as it would call itself:

  127.0.0.1 graph.facebook.com {hosts}

     Further hosts of Graph's, such as graph.beta.facebook.com, go in upstream.hosts as well.
"
    );
    first + &second
}

/// A name or an address that can stand in a certificate.
fn name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    match rustls::pki_types::ServerName::try_from(name.as_str()) {
        Ok(_name) => Ok(name),
        Err(_other) => Err("not the name of a host, nor an address".to_owned()),
    }
}
