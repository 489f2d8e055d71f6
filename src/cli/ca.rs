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
use crate::graph::BESIDE_GRAPH;
use crate::net::ca::{Authority, CertificateError, Leaf};
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
enum Trouble {
    #[error("{} is there already: --force replaces it, and clients then need the new ca.pem", path.display())]
    There { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate")]
    Make(#[from] CertificateError),
    #[error("cannot say what was made")]
    Say(#[source] io::Error),
}

/// The names of the files.
const CA: &str = "ca.pem";
const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";
const BUNDLE: &str = "bundle.pem";

/// Where systems keep their roots: Debian and Alpine, Fedora, SUSE, BSD and macOS.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the files and says what to do with them.
pub(super) fn run(args: &CaArgs) -> ExitCode {
    let trouble = match make(args, &Clock::system()) {
        Ok(()) => return Exit::Done.into(),
        Err(trouble) => trouble,
    };
    let exit = match trouble {
        Trouble::There { .. } | Trouble::Write { .. } => Exit::Usage,
        Trouble::Make(_) | Trouble::Say(_) => Exit::Failed,
    };
    super::serve::complain(&trouble, exit).into()
}

fn make(args: &CaArgs, clock: &Clock) -> Result<(), Trouble> {
    let place = |name: &str| args.out.join(name);
    let there = [CA, CERT, KEY, BUNDLE].map(place);
    if let Some(path) = there.into_iter().find(|path| path.exists())
        && !args.force
    {
        return Err(Trouble::There { path });
    }
    std::fs::create_dir_all(&args.out).map_err(|source| Trouble::Write {
        path: args.out.clone(),
        source,
    })?;

    let mut leaf = Leaf::graph(clock);
    // A clock that is a little late takes it, too; and some clients count the days from end to end.
    leaf.not_before = clock.wall() - DAY / 24;
    leaf.not_after = leaf.not_before + DAY * args.days;
    for name in &args.names {
        if !leaf.names.contains(name) {
            leaf.names.push(name.clone());
        }
    }
    let authority = Authority::only_for(&leaf)?;
    let signed = authority.sign(&leaf)?;

    // The key first: a sidecar that watches the pair sees a whole one when the certificate comes.
    written(&args.out, KEY, &signed.key(), 0o600)?;
    let chain = format!("{}{}", signed.certificate(), authority.pem());
    written(&args.out, CERT, &chain, 0o644)?;
    written(&args.out, CA, authority.pem(), 0o644)?;
    let roots = ROOTS.iter().find_map(roots);
    if let Some(roots) = &roots {
        let bundle = format!("{}\n{}", roots.trim_end(), authority.pem());
        written(&args.out, BUNDLE, &bundle, 0o644)?;
    }
    let out = args
        .out
        .canonicalize()
        .unwrap_or_else(|_absent| args.out.clone());
    let said = said(&out, args.days, roots.is_some());
    io::stdout()
        .write_all(said.as_bytes())
        .map_err(Trouble::Say)
}

/// The system's roots, if this is where it keeps them.
fn roots(path: &&str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.contains("-----BEGIN CERTIFICATE-----").then_some(text)
}

/// Puts a file in place, whole or not at all.
fn written(place: &Path, name: &str, text: &str, mode: u32) -> Result<(), Trouble> {
    let path = place.join(name);
    let put = || {
        // It is its owner's alone until it is in place.
        let mut file = tempfile::NamedTempFile::new_in(place)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    put().map_err(|source| Trouble::Write {
        path: path.clone(),
        source,
    })
}

/// What to do with it.
fn said(out: &Path, days: u32, has_bundle: bool) -> String {
    let file = |name: &str| out.join(name).display().to_string();
    let (ca, cert, key) = (file(CA), file(CERT), file(KEY));
    let bundle = file(BUNDLE);
    // Only those that are served unless `upstream.hosts` says otherwise: the rest would be refused.
    let hosts = BESIDE_GRAPH.join(" ");
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
    let trusts = if has_bundle {
        "These replace the system's roots; so here is a copy of them, with ca.pem. Make it anew when the system's change:"
    } else {
        "No roots of the system were found to copy. These replace the app's roots: it will trust no other https host."
    };
    let trusted = if has_bundle { &bundle } else { &ca };
    let second = format!(
        "\
{trusts}

  export REQUESTS_CA_BUNDLE={trusted}   # Python: requests
  export SSL_CERT_FILE={trusted}        # Python: httpx, aiohttp; Go, Ruby, OpenSSL
  export CURL_CA_BUNDLE={trusted}           # curl

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
