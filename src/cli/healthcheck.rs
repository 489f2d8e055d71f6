//! `graphward healthcheck`: requests `/readyz`, for images without a shell.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use serde_json::json;

use super::admin_client::{AdminArgs, AdminClient};
use super::exit::{Exit, print_message};
use super::output::OutputArgs;
use super::runtime::build_runtime;
use super::table::printable;
use crate::net::{HttpClientError, ListenAddr};
use crate::types::error_chain;

/// The flags of `graphward healthcheck`.
#[derive(Args, Clone, Debug)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the sidecar of this configuration whether it is ready, and prints one line.
///
/// The exit code is always 0 or 1, even if the configuration is invalid: Docker reserves the other codes, and a sidecar with
/// such a configuration is not ready.
pub(super) fn run(args: &HealthcheckArgs) -> Exit {
    let ready = check(&args.admin);
    let json = json!({ "ready": ready.is_ok(), "reason": ready.as_ref().err() });
    if let Err(message) = &ready
        && !args.output.json
    {
        print_message(message);
    } else {
        // The exit code holds even if the line cannot be written.
        let _closed_stdout = args.output.print(&json, "ready");
    }
    if ready.is_ok() { Exit::Success } else { Exit::Failed }
}

fn check(args: &AdminArgs) -> Result<(), String> {
    let admin = args.address()?;
    let runtime = build_runtime().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(check_ready(&admin))
}

/// A sidecar that does not answer within this time is not ready.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

async fn check_ready(admin: &ListenAddr) -> Result<(), String> {
    let client = AdminClient::new(admin, HEALTHCHECK_TIMEOUT, None).map_err(|error| format!("not ready: {error}"))?;
    let admin = &client.address;
    match client.send(Method::GET, "/readyz", Bytes::new()).await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!(
            "not ready: {admin} returned {}: {}",
            response.status().as_u16(),
            printable(&String::from_utf8_lossy(response.body()))
                .chars()
                .take(400)
                .collect::<String>()
        )),
        Err(HttpClientError::TimedOut(_)) => Err(format!(
            "not ready: no response from {admin} within {} s",
            HEALTHCHECK_TIMEOUT.as_secs()
        )),
        Err(error) => Err(format!("not ready: cannot query {admin}: {}", error_chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket, UnixListener};

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
    async fn status_200_is_ready_and_503_is_not_with_the_reasons_on_one_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = ListenAddr::Tcp(listener.local_addr().unwrap());
        for (response, expected) in [
            (READY, Ok(())),
            (
                NOT_READY,
                Err(format!("not ready: {admin} returned 503: {{ \"stage\": \"drain\" }}")),
            ),
            (
                "",
                Err(format!(
                    "not ready: cannot query {admin}: the connection closed before the response was complete: \
                     connection closed before message completed"
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
    async fn a_unix_socket_is_asked_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = async { respond(listener.accept().await.unwrap().0, READY).await };
        let admin = ListenAddr::Unix(path);
        let (result, request) = tokio::join!(check_ready(&admin), serving);
        assert_eq!(result, Ok(()));
        assert!(request.contains("host: localhost\r\n"));
    }

    #[tokio::test]
    async fn a_closed_port_is_not_ready() {
        // Bound but not listening, so that no other test gets the port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let admin = ListenAddr::Tcp(socket.local_addr().unwrap());
        let error = check_ready(&admin).await.unwrap_err();
        assert!(error.starts_with(&format!("not ready: cannot query {admin}: ")));
    }

    #[tokio::test]
    async fn a_sidecar_that_does_not_answer_is_not_ready_after_two_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = ListenAddr::Tcp(listener.local_addr().unwrap());
        let error = check_ready(&admin).await.unwrap_err();
        assert_eq!(error, format!("not ready: no response from {admin} within 2 s"));
    }
}
