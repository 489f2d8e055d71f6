//! The guards of the admin listener over HTTP/2 without TLS, where the target names the host.

use std::net::SocketAddr;

use http::{Method, Request, Version};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin_access::Listener;
use crate::admin_changes::send;
use crate::support::{Body, TIMEOUT, together};

/// Sends a request to a host with further headers, and returns the status of the answer.
async fn send_http2(address: SocketAddr, method: Method, url: &str, headers: &[(&str, &str)]) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut request = Request::builder().method(method).uri(url).version(Version::HTTP_2);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let exchange = async {
        tokio::select! {
            response = sender.send_request(request.body(Body::default()).unwrap()) => response.unwrap().status(),
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    };
    timeout(TIMEOUT, exchange).await.expect("no response").as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_of_another_page_or_not_whatever_the_version_of_http() {
    let _turn = together().await;
    let listener = Listener::start().await;
    let address = listener.address();
    let own = format!("http://{address}");
    let url = |path: &str| format!("{own}{path}");
    for (host, headers, status) in [
        ("", &[][..], 200),
        ("", &[("origin", own.as_str())], 200),
        ("", &[("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 200),
        ("", &[("origin", "https://evil.example")], 403),
        ("", &[("origin", "http://localhost:3000")], 403),
        ("", &[("origin", "null")], 403),
        ("", &[("sec-fetch-site", "cross-site")], 403),
        ("http://rebound.example", &[], 403),
        ("http://rebound.example", &[("origin", "http://rebound.example")], 403),
        // The two hosts have to be the same.
        ("", &[("host", "rebound.example")], 403),
    ] {
        let changes = [headers, &[("graphward-admin", "yes")]].concat();
        for (method, path, headers) in [
            (Method::GET, "/admin/token-status", headers),
            (Method::POST, "/admin/refresh-token", &changes),
        ] {
            let target = if host.is_empty() {
                url(path)
            } else {
                format!("{host}{path}")
            };
            let found = send_http2(address, method.clone(), &target, headers).await;
            assert_eq!(found, status, "{method} {target} {headers:?}");
            let authority = target
                .trim_start_matches("http://")
                .split('/')
                .next()
                .unwrap_or_default();
            let fields = headers.iter().filter(|(name, _)| *name != "host");
            let mut fields: String = fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let named = headers.iter().find(|(name, _)| *name == "host");
            fields += &format!("Host: {}\r\n", named.map_or(authority, |(_, host)| host));
            let same = send(address, &format!("{method} {path}"), &fields, "");
            assert_eq!(same.status, status, "{method} {fields}: {}", same.text);
        }
    }
    assert_eq!(
        send_http2(address, Method::POST, &url("/admin/refresh-token"), &[]).await,
        403
    );
}
