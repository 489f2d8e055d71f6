//! `graphward fake-graph`: only the fake Graph, for the tests of apps.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueHint;
use fake_graph::{FakeGraph, FakeGraphConfig, ProofPolicy, RunningServer, TokenFamily, parse_duration};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::exit::{Exit, print_error, print_message};
use super::file::write_file;
use super::output::OutputArgs;
use super::runtime::build_runtime;
use crate::app;
use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
use crate::net::{HttpVersion, Tasks, bind_advice};
use crate::os::watch::read_text;
use crate::types::{Clock, Secret, SecretError, shell_word};

/// A fake Graph whose tokens expire, to test programs that call the real one.
///
/// It speaks HTTP/1.1 and HTTP/2, over TLS with a CA of its own. Its control API issues tokens, expires them, injects
/// faults and lists the accepted messages.
#[derive(Debug, clap::Args)]
pub(super) struct FakeGraphArgs {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address of the control API, which is plain HTTP and needs no credentials
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8444")]
    control: SocketAddr,
    /// Lifetime of its tokens: 250ms, 4s, 10m, 2h (default: until the control API expires them)
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    token_ttl: Option<Duration>,
    /// File with a token to accept from the start (repeatable)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    accept_token_file: Vec<PathBuf>,
    /// File to write a new token to, atomically and readable only by its owner
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_out: Option<PathBuf>,
    /// Family of that token: facebook, instagram or threads; only the hosts of its family accept it
    #[arg(long, value_name = "FAMILY", default_value = "facebook", requires = "token_out")]
    family: TokenFamily,
    /// Write another new token there at this interval
    #[arg(long, value_name = "TIME", value_parser = positive_duration, requires = "token_out")]
    renew_every: Option<Duration>,
    /// Id of the app that the tokens belong to
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// File with the app's secret (default: the secret 0123456789abcdef0123456789abcdef)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    app_secret_file: Option<PathBuf>,
    /// Whether calls need an `appsecret_proof`: optional or required; a wrong one is always refused
    #[arg(long, value_name = "POLICY", default_value = "optional")]
    proof: ProofPolicy,
    /// Origin of the media URLs in its answers
    #[arg(long, value_name = "ORIGIN", default_value = "https://lookaside.fbsbx.com")]
    media_origin: String,
    /// Origin of the upload URLs of reels in its answers
    #[arg(long, value_name = "ORIGIN", default_value = "https://rupload.facebook.com")]
    upload_origin: String,
    /// File to write the CA's certificate to, for clients to trust
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "plain")]
    ca_out: Option<PathBuf>,
    /// Serve HTTP instead of HTTPS
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// The reason why the fake Graph did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum FakeGraphError {
    #[error("cannot listen on {0} ({1}){advice}", advice = bind_advice(.2))]
    Bind(SocketAddr, &'static str, #[source] io::Error),
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("`{}` contains no usable secret", .0.display())]
    Secret(PathBuf, #[source] SecretError),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot set up TLS")]
    Tls(#[from] CertificateError),
    #[error("the system refused a signal handler, or standard output is closed")]
    Io(#[from] io::Error),
}

/// Runs the fake Graph until a stop signal.
pub(super) fn run(args: &FakeGraphArgs) -> Exit {
    let runtime = build_runtime().map_err(FakeGraphError::Io);
    let Err(error) = runtime.and_then(|runtime| runtime.block_on(args.serve())) else {
        return Exit::Success;
    };
    let exit = match error {
        FakeGraphError::Bind(..) => Exit::CannotBind,
        FakeGraphError::Read(..) | FakeGraphError::Secret(..) => Exit::Usage,
        FakeGraphError::Write(..) | FakeGraphError::Tls(_) | FakeGraphError::Io(_) => Exit::Failed,
    };
    print_error(&error, exit)
}

impl FakeGraphArgs {
    async fn serve(&self) -> Result<(), FakeGraphError> {
        let graph = FakeGraph::new(self.config()?);
        for path in &self.accept_token_file {
            graph.register_token(read_secret(path)?.expose(), None);
        }
        // From here on. A pipe that is not written to must not keep the signals from ending the process.
        let tasks = Tasks::default();
        let mut stops = app::stop_signals(&tasks, None)?;
        let listener = bind("--listen", self.listen).await?;
        let control = bind("--control", self.control).await?;
        let acceptor = (!self.plain)
            .then(|| tls_acceptor(self.ca_out.as_deref()))
            .transpose()?;
        let server = graph.start(listener, acceptor)?;
        let control = graph.start_control(control)?;
        if let Some(path) = self.token_out.clone() {
            let (family, ttl) = (self.family, self.token_ttl);
            let write_token = move || write(&path, &graph.issue_for(family, ttl), 0o600);
            write_token()?;
            if let Some(interval) = self.renew_every {
                drop(tasks.spawn(repeat(interval, write_token)));
            }
        }
        self.print_addresses(&mut io::stdout().lock(), &server, &control)?;
        stops.recv().await;
        server.stop().await;
        control.stop().await;
        Ok(())
    }

    fn config(&self) -> Result<FakeGraphConfig, FakeGraphError> {
        let mut config = FakeGraphConfig::new(fake_graph::Clock::system());
        config.token_ttl = self.token_ttl;
        config.proof = self.proof;
        config.media_origin.clone_from(&self.media_origin);
        config.upload_origin.clone_from(&self.upload_origin);
        if let Some(id) = &self.app_id {
            config.app_id.clone_from(id);
        }
        if let Some(path) = &self.app_secret_file {
            read_secret(path)?.expose().clone_into(&mut config.app_secret);
        }
        Ok(config)
    }

    /// Prints addresses and files; for people, with example commands: one line each with a label and a value.
    fn print_addresses(&self, out: &mut impl Write, graph: &RunningServer, control: &RunningServer) -> io::Result<()> {
        let scheme = if self.plain { "http" } else { "https" };
        let origin = format!("{scheme}://{}", graph.address);
        let control = format!("http://{}", control.address);
        let (ca, token) = (&self.ca_out, &self.token_out);
        if self.output.json {
            let places = json!({ "graph": origin, "control": control, "ca": ca, "token": token });
            writeln!(out, "{places:#}")?;
            return out.flush();
        }
        let (ca, trust) = match ca {
            Some(ca) => (
                format!("ca       {}\n", ca.display()),
                format!(" --cacert {}", shell_word(ca.display())),
            ),
            None if self.plain => (String::new(), String::new()),
            None => (String::new(), " -k".to_owned()),
        };
        let (place, token) = match token {
            Some(path) => (
                format!("token    {}", path.display()),
                format!("$(cat {})", shell_word(path.display())),
            ),
            None => (format!("issue    curl -X POST {control}/tokens"), "TOKEN".to_owned()),
        };
        writeln!(
            out,
            "graph    {origin}\ncontrol  {control}\n{ca}{place}\n\
             call     curl{trust} -H \"Authorization: Bearer {token}\" {origin}/v26.0/me\n\
             expire   curl -d '{{\"all\":true}}' {control}/tokens/expire\n\
             state    curl {control}/state"
        )?;
        out.flush()
    }
}

/// Creates a CA and returns TLS with its certificate for Graph's host names. `ca_out` is the file for the CA's certificate.
pub(super) fn tls_acceptor(ca_out: Option<&Path>) -> Result<TlsAcceptor, FakeGraphError> {
    let clock = Clock::system();
    let authority = CertAuthority::new(&clock)?;
    if let Some(path) = ca_out {
        write(path, authority.pem().trim_end(), 0o644)?;
    }
    Ok(authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Auto.alpn())?)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, FakeGraphError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| FakeGraphError::Bind(address, flag, source))
}

fn read_secret(path: &Path) -> Result<Secret, FakeGraphError> {
    let text = read_text(path).map_err(|source| FakeGraphError::Read(path.to_owned(), source))?;
    Secret::new(&text).map_err(|source| FakeGraphError::Secret(path.to_owned(), source))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), FakeGraphError> {
    write_file(path, &format!("{text}\n"), mode).map_err(|source| FakeGraphError::Write(path.to_owned(), source))
}

/// Writes new tokens at an interval. A failure is printed; the next attempt may succeed.
async fn repeat(interval: Duration, write_token: impl Fn() -> Result<(), FakeGraphError>) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = write_token() {
            print_message(&crate::types::error_chain(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        fake: FakeGraphArgs,
    }

    fn line(args: &[&str]) -> Result<FakeGraphArgs, clap::Error> {
        let args = std::iter::once("fake-graph").chain(args.iter().copied());
        Line::try_parse_from(args).map(|line| line.fake)
    }

    #[test]
    fn flags_have_the_documented_defaults_and_contradictions_are_refused() {
        let fake = line(&[]).unwrap();
        assert_eq!(fake.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(fake.control.to_string(), "127.0.0.1:8444");
        assert_eq!((fake.token_ttl, fake.plain), (None, false));
        assert_eq!(
            (fake.family, fake.proof),
            (TokenFamily::Facebook, ProofPolicy::Optional)
        );
        let strict = line(&["--proof", "required", "--media-origin", "http://x"]).unwrap();
        let config = strict.config().unwrap();
        assert_eq!(config.proof, ProofPolicy::Required);
        assert_eq!(config.media_origin, "http://x");
        let threads = line(&["--family", "threads", "--token-out", "t"]).unwrap();
        assert_eq!(threads.family, TokenFamily::Threads);
        let two = line(&["--accept-token-file", "a", "--accept-token-file", "b"]).unwrap();
        assert_eq!(
            two.accept_token_file.len(),
            2,
            "such as those of an app and of an admin"
        );
        assert!(line(&["--family", "threads"]).is_err());
        assert!(line(&["--proof", "maybe"]).is_err());
        assert!(line(&["--plain", "--ca-out", "ca.pem"]).is_err());
        assert!(line(&["--renew-every", "4s"]).is_err());
        assert!(line(&["--token-ttl", "4"]).is_err());
        // A token that ends as it is issued would be a fake Graph that rejects everything.
        for wrong in ["0s", "0ms", "0h", "-1s", ""] {
            assert!(line(&[&format!("--token-ttl={wrong}")]).is_err(), "{wrong:?}");
            let renewed = line(&["--token-out", "t", &format!("--renew-every={wrong}")]);
            assert!(renewed.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_output_has_a_label_and_a_value_per_line() {
        let fake = line(&["--ca-out", "/tmp/ca.pem", "--token-out", "/tmp/token"]).unwrap();
        let server = FakeGraph::new(fake.config().unwrap());
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let graph = server.start(bind("--listen", here).await.unwrap(), None).unwrap();
        let control = server.start_control(bind("--control", here).await.unwrap()).unwrap();
        let mut out = Vec::new();
        fake.print_addresses(&mut out, &graph, &control).unwrap();
        let mut json = Vec::new();
        let for_programs = line(&["--ca-out", "/tmp/ca.pem", "--json"]).unwrap();
        for_programs.print_addresses(&mut json, &graph, &control).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let places = json!({
            "graph": format!("https://{}", graph.address), "control": format!("http://{}", control.address),
            "ca": "/tmp/ca.pem", "token": null,
        });
        assert_eq!(json, places);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(&format!("graph    https://{}\n", graph.address)));
        assert!(out.contains(&format!("\ncontrol  http://{}\n", control.address)));
        assert!(out.contains("\nca       /tmp/ca.pem\ntoken    /tmp/token\n"));
        assert!(!out.contains("EAA"));
    }

    #[test]
    fn a_token_is_written_atomically_and_readable_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for text in ["EAAone", "EAAtwo"] {
            write(&path, text, 0o600).unwrap();
            assert_eq!(read_secret(&path).unwrap().expose(), text);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no/such/folder/token");
        assert!(matches!(write(&nowhere, "x", 0o600), Err(FakeGraphError::Write(..))));
    }
}
