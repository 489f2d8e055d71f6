//! `graphward healthcheck`: for images without a shell.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::exit::Exit;
use crate::config::{BindAddress, Config, Overrides, env_var};
use crate::net::BoxError;

/// The flags of `healthcheck`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct HealthcheckArgs {
    /// The configuration file of the sidecar to ask
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where its operators connect: IP:PORT or unix:/PATH [default: 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
}

/// Asks the sidecar of this configuration whether it is ready, and says so in one line.
///
/// It never ends with anything but 0 and 1, even if the configuration is wrong: Docker keeps the other numbers
/// for itself, and a sidecar with such a configuration is not ready.
#[must_use]
pub(super) fn run(args: HealthcheckArgs) -> ExitCode {
    // What the exit code says is true whether or not anybody reads the line.
    match check(args) {
        Ok(()) => {
            drop(writeln!(std::io::stdout(), "ready"));
            Exit::Success.into()
        }
        Err(message) => {
            drop(writeln!(std::io::stderr(), "graphward: {message}"));
            Exit::Failed.into()
        }
    }
}

fn check(args: HealthcheckArgs) -> Result<(), String> {
    let admin = admin_address(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(check_ready(&admin))
}

/// Whom to ask. Nothing else of the configuration matters, so a flag settles it: the rest might not even be valid
/// without the flags that the sidecar itself was given.
fn admin_address(args: HealthcheckArgs) -> Result<BindAddress, String> {
    if let Some(admin) = args.admin {
        let admin = admin.parse::<BindAddress>();
        return admin.map_err(|error| format!("--admin: {error}"));
    }
    let flags = Overrides {
        config: args.config,
        ..Overrides::default()
    };
    match Config::load(flags, &env_var) {
        Ok(loaded) => Ok(loaded.config.listen.admin),
        Err(error) => Err(error.to_string()),
    }
}

/// Within this time there is an answer, or that is the answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

async fn check_ready(admin: &BindAddress) -> Result<(), String> {
    let admin = admin.local_dial_address();
    match tokio::time::timeout(HEALTHCHECK_TIMEOUT, query(&admin)).await {
        Ok(Ok((StatusCode::OK, _reasons))) => Ok(()),
        Ok(Ok((status, reasons))) => Err(format!("not ready: {admin} says {}: {reasons}", status.as_u16())),
        Ok(Err(error)) => Err(format!("not ready: cannot ask {admin}: {error}")),
        Err(_elapsed) => Err(format!(
            "not ready: {admin} has not answered within {} s",
            HEALTHCHECK_TIMEOUT.as_secs()
        )),
    }
}

async fn query(admin: &BindAddress) -> Result<(StatusCode, String), BoxError> {
    match admin {
        BindAddress::Tcp(address) => get_readyz(TcpStream::connect(address).await?, &address.to_string()).await,
        BindAddress::Unix(path) => get_readyz(UnixStream::connect(path).await?, "localhost").await,
    }
}

async fn get_readyz(stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> Result<(StatusCode, String), BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 * 1024).collect().await;
        // The status is the answer; what could not be read of the reasons only makes it shorter.
        let reasons = body.map(|body| one_line(&body.to_bytes()));
        Ok((status, reasons.unwrap_or_default()))
    };
    // The connection has to be driven while the answer is read, and ends when it has been. If it breaks, that
    // is what `exchange` says.
    let (result, _connection) = tokio::join!(exchange, connection);
    result
}

/// Text for one line of a terminal or of Docker's health log.
fn one_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    line.chars().filter(|letter| !letter.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    const READY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    const NOT_READY: &str =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 22\r\n\r\n{\n  \"stage\": \"drain\"\n}";

    async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut head = vec![0; 1024];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        head.truncate(length);
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn an_answer_of_200_is_ready_and_503_is_not_with_the_reasons_on_one_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = BindAddress::Tcp(listener.local_addr().unwrap());
        for (response, expected) in [
            (READY, Ok(())),
            (
                NOT_READY,
                Err(format!("not ready: {admin} says 503: {{ \"stage\": \"drain\" }}")),
            ),
            (
                "",
                Err(format!(
                    "not ready: cannot ask {admin}: connection closed before message completed"
                )),
            ),
        ] {
            let serving = async { respond(listener.accept().await.unwrap().0, response).await };
            let (result, request) = tokio::join!(check_ready(&admin), serving);
            assert_eq!(result, expected);
            assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"));
            assert!(request.contains(&format!("host: {admin}\r\n")));
        }
    }

    #[tokio::test]
    async fn a_socket_file_is_asked_too() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = async { respond(listener.accept().await.unwrap().0, READY).await };
        let admin = BindAddress::Unix(path);
        let (result, request) = tokio::join!(check_ready(&admin), serving);
        assert_eq!(result, Ok(()));
        assert!(request.contains("host: localhost\r\n"));
    }

    #[tokio::test]
    async fn where_nothing_listens_nothing_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = BindAddress::Tcp(listener.local_addr().unwrap());
        drop(listener);
        let error = check_ready(&admin).await.unwrap_err();
        assert!(error.starts_with(&format!("not ready: cannot ask {admin}: ")));
    }

    #[tokio::test]
    async fn silence_is_an_answer_after_two_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = BindAddress::Tcp(listener.local_addr().unwrap());
        let since = tokio::time::Instant::now();
        let error = check_ready(&admin).await.unwrap_err();
        assert!(error.ends_with("has not answered within 2 s"));
        assert!(since.elapsed() < Duration::from_secs(4));
    }
}
