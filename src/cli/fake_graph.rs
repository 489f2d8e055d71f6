//! `graphward fake-graph`: only the fake Graph, for users' own CI.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueHint;
use fake_graph::{FakeGraph, FakeGraphConfig, ProofPolicy, RunningServer, TokenFamily};
use tokio::net::TcpListener;

use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
use crate::net::{HttpVersion, Tasks};

use crate::types::{Clock, Secret};

/// A fake Graph whose tokens expire, for tests of what calls the real one.
///
/// It speaks HTTP/1.1 and HTTP/2, over TLS with a certificate authority made on the spot. Its control listener
/// issues tokens, lets them expire, makes trouble and lists the messages that were accepted.
#[derive(Debug, clap::Args)]
pub struct FakeGraphArgs {
    /// Where it listens. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Listen address of the control API (plain HTTP, unauthenticated).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8444")]
    control: SocketAddr,
    /// How long its tokens live: 250ms, 4s, 10m, 2h. Without it, until told otherwise.
    #[arg(long, value_name = "TIME", value_parser = fake_graph::parse_duration)]
    token_ttl: Option<Duration>,
    /// A file with a token that it shall know from the start. May be given more than once.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    accept_token_file: Vec<PathBuf>,
    /// A file to write a fresh token to, whole and readable by its owner only.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_out: Option<PathBuf>,
    /// Whose token that is: facebook, instagram or threads. It is good on the hosts of its family only.
    #[arg(long, value_name = "FAMILY", default_value = "facebook", requires = "token_out")]
    family: TokenFamily,
    /// Writes another fresh token there this often.
    #[arg(long, value_name = "TIME", value_parser = fake_graph::parse_duration, requires = "token_out")]
    renew_every: Option<Duration>,
    /// The id of the app that tokens belong to.
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// A file with the app's secret. Without it: 0123456789abcdef0123456789abcdef.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    app_secret_file: Option<PathBuf>,
    /// Whether calls need an `appsecret_proof`: optional or required. A wrong one is refused either way.
    #[arg(long, value_name = "WORD", default_value = "optional")]
    proof: ProofPolicy,
    /// What media URLs in its answers begin with.
    #[arg(long, value_name = "ORIGIN", default_value = "https://lookaside.fbsbx.com")]
    media_origin: String,
    /// What the upload URLs of reels in its answers begin with.
    #[arg(long, value_name = "ORIGIN", default_value = "https://rupload.facebook.com")]
    upload_origin: String,
    /// A file to write the certificate authority's certificate to, for clients to trust.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "plain")]
    ca_out: Option<PathBuf>,
    /// HTTP instead of HTTPS.
    #[arg(long)]
    plain: bool,
}

/// Why it did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has no usable secret", path.display())]
    Secret {
        path: PathBuf,
        source: crate::types::SecretError,
    },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot set up TLS")]
    Tls(#[from] CertificateError),
    #[error("the system refuses")]
    Io(#[from] io::Error),
}

impl FakeGraphArgs {
    /// Runs it until it is asked to stop (SIGTERM, SIGINT).
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => Err(error.into()),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let mut causes = String::new();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    causes.push_str(&format!(": {error}"));
                    cause = error.source();
                }
                // If stderr is closed, the exit code still reports the failure.
                drop(writeln!(io::stderr(), "graphward fake-graph: {error}{causes}"));
                error.exit()
            }
        }
    }

    async fn serve(self) -> Result<(), Trouble> {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let settings = self.settings()?;
        let clock = Clock::system();
        let fake = FakeGraph::new(settings);
        for path in &self.accept_token_file {
            fake.register_token(secret(path)?.expose(), None);
        }
        let (graph, control) = (bound(self.listen).await?, bound(self.control).await?);

        let authority = if self.plain {
            None
        } else {
            Some(CertAuthority::new(&clock)?)
        };
        let leaf = CertSpec::for_graph(&clock);
        let acceptor = authority
            .as_ref()
            .map(|ca| ca.acceptor(&leaf, HttpVersion::Auto.alpn()));
        if let (Some(path), Some(authority)) = (&self.ca_out, &authority) {
            written(path, authority.pem(), Mode::Public)?;
        }

        let graph = fake.start(graph, acceptor.transpose()?)?;
        let control = fake.start_control(control)?;
        let tasks = Tasks::default();
        if let Some(path) = self.token_out.clone() {
            let issuer = Issue {
                fake: fake.clone(),
                family: self.family,
                ttl: self.token_ttl,
            };
            written(&path, &issuer.fresh(), Mode::Owner)?;
            if let Some(every) = self.renew_every {
                drop(tasks.spawn(renewed(issuer, path, every)));
            }
        }
        self.greet(&mut io::stdout().lock(), &graph, &control)?;

        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _terminated = terminate.recv() => {}
        }
        graph.stop().await;
        control.stop().await;
        Ok(())
    }

    fn settings(&self) -> Result<FakeGraphConfig, Trouble> {
        let mut settings = FakeGraphConfig::new(fake_graph::Clock::system());
        settings.token_ttl = self.token_ttl;
        settings.media_origin.clone_from(&self.media_origin);
        if let Some(id) = &self.app_id {
            settings.app_id.clone_from(id);
        }
        if let Some(path) = &self.app_secret_file {
            secret(path)?.expose().clone_into(&mut settings.app_secret);
        }
        settings.proof = self.proof;
        settings.upload_origin.clone_from(&self.upload_origin);
        Ok(settings)
    }

    /// What is where, one fact per line: a word, spaces, the fact.
    fn greet(&self, out: &mut impl Write, graph: &RunningServer, control: &RunningServer) -> io::Result<()> {
        let scheme = if self.plain { "http" } else { "https" };
        let origin = format!("{scheme}://{}", graph.address);
        let control = format!("http://{}", control.address);
        let mut line = |word: &str, fact: &dyn Display| writeln!(out, "{word:<8} {fact}");
        line("graph", &origin)?;
        line("control", &control)?;
        let trust = match &self.ca_out {
            Some(path) => {
                line("ca", &path.display())?;
                format!(" --cacert {}", path.display())
            }
            None if self.plain => String::new(),
            None => " -k".to_owned(),
        };
        let token = match &self.token_out {
            Some(path) => {
                line("token", &path.display())?;
                format!("$(cat {})", path.display())
            }
            None => {
                line("issue", &format_args!("curl -X POST {control}/tokens"))?;
                "TOKEN".to_owned()
            }
        };
        line(
            "call",
            &format_args!("curl{trust} -H \"Authorization: Bearer {token}\" {origin}/v26.0/me"),
        )?;
        line(
            "expire",
            &format_args!("curl -d '{{\"all\":true}}' {control}/tokens/expire"),
        )?;
        line("state", &format_args!("curl {control}/state"))?;
        out.flush()
    }
}

impl Trouble {
    /// 2: what was asked for cannot be; 3: an address is taken; 1: anything else.
    fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Bind { .. } => 3,
            Self::Read { .. } | Self::Secret { .. } | Self::Write { .. } => 2,
            Self::Tls(_) | Self::Io(_) => 1,
        })
    }
}

async fn bound(address: SocketAddr) -> Result<TcpListener, Trouble> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| Trouble::Bind { address, source })
}

fn secret(path: &Path) -> Result<Secret, Trouble> {
    let path_buf = || path.to_path_buf();
    let text = std::fs::read_to_string(path).map_err(|source| Trouble::Read {
        path: path_buf(),
        source,
    })?;
    Secret::new(&text).map_err(|source| Trouble::Secret {
        path: path_buf(),
        source,
    })
}

/// Where fresh tokens come from.
struct Issue {
    fake: FakeGraph,
    family: TokenFamily,
    ttl: Option<Duration>,
}

impl Issue {
    fn fresh(&self) -> String {
        self.fake.issue_for(self.family, self.ttl)
    }
}

/// Goes on writing fresh tokens. One that cannot be written is told and forgotten: the next may.
async fn renewed(issuer: Issue, path: PathBuf, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = written(&path, &issuer.fresh(), Mode::Owner) {
            drop(writeln!(io::stderr(), "graphward fake-graph: {error}"));
        }
    }
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Mode {
    Owner,
    Public,
}

/// Puts a file in place, whole or not at all.
fn written(path: &Path, text: &str, mode: Mode) -> Result<(), Trouble> {
    let failed = |source| Trouble::Write {
        path: path.to_path_buf(),
        source,
    };
    let dir = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    writeln!(file, "{}", text.trim_end()).map_err(failed)?;
    if let Mode::Public = mode {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
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
    fn flags_have_the_promised_defaults_and_contradictions_are_refused() {
        let fake = line(&[]).unwrap();
        assert_eq!(fake.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(fake.control.to_string(), "127.0.0.1:8444");
        assert_eq!((fake.token_ttl, fake.plain), (None, false));
        assert_eq!(
            (fake.family, fake.proof),
            (TokenFamily::Facebook, ProofPolicy::Optional)
        );
        let strict = line(&["--proof", "required", "--media-origin", "http://x"]).unwrap();
        let settings = strict.settings().unwrap();
        assert_eq!(settings.proof, ProofPolicy::Required);
        assert_eq!(settings.media_origin, "http://x");
        let threads = line(&["--family", "threads", "--token-out", "t"]).unwrap();
        assert_eq!(threads.family, TokenFamily::Threads);
        let two = line(&["--accept-token-file", "a", "--accept-token-file", "b"]).unwrap();
        assert_eq!(two.accept_token_file.len(), 2, "a tenant's and an admin's, say");
        assert!(line(&["--family", "threads"]).is_err(), "whose?");
        assert!(line(&["--proof", "maybe"]).is_err());
        assert!(line(&["--plain", "--ca-out", "ca.pem"]).is_err());
        assert!(line(&["--renew-every", "4s"]).is_err(), "where to?");
        assert!(line(&["--token-ttl", "4"]).is_err(), "4 what?");
    }

    #[tokio::test]
    async fn the_greeting_is_a_word_and_a_fact_per_line() {
        let fake = line(&["--ca-out", "/tmp/ca.pem", "--token-out", "/tmp/token"]).unwrap();
        let server = FakeGraph::new(fake.settings().unwrap());
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let graph = server.start(bound(here).await.unwrap(), None).unwrap();
        let control = server.start_control(bound(here).await.unwrap()).unwrap();
        let mut out = Vec::new();
        fake.greet(&mut out, &graph, &control).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(&format!("graph    https://{}\n", graph.address)));
        assert!(out.contains(&format!("\ncontrol  http://{}\n", control.address)));
        assert!(out.contains("\nca       /tmp/ca.pem\ntoken    /tmp/token\n"));
        assert!(!out.contains("EAA"));
    }

    #[test]
    fn a_token_is_written_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for text in ["EAAone", "EAAtwo"] {
            written(&path, text, Mode::Owner).unwrap();
            assert_eq!(secret(&path).unwrap().expose(), text);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no/such/folder/token");
        assert!(matches!(
            written(&nowhere, "x", Mode::Owner),
            Err(Trouble::Write { .. })
        ));
    }
}
