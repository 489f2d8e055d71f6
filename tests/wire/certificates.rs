//! The verification of certificates that graphward creates.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use fake_graph::{FakeGraph, FakeGraphConfig};
use graphward::graph::Origin;
use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::net::{Connector, ConnectorConfig, Dialer, HttpVersion, Tasks, tls};
use graphward::proxy::Body;
use graphward::types::Clock;
use graphward::upstream::Upstream;
use http::Request;
use tokio::net::TcpListener;

/// Connects a client that trusts `trusted` to a listener whose certificate is `leaf`, signed by `signer`.
async fn connect(trusted: &CertAuthority, signer: &CertAuthority, leaf: &CertSpec) -> Result<u16, String> {
    let graph = FakeGraph::new(FakeGraphConfig::new(fake_graph::Clock::system()));
    let acceptor = signer.acceptor(leaf, HttpVersion::Auto.alpn()).unwrap();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let running = graph.start(listener, Some(acceptor)).unwrap();
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(trusted.pem().as_bytes()).unwrap();
    let connector = Connector::from_config(ConnectorConfig {
        dialer: Dialer {
            connect_to: [("graph.facebook.com".to_owned(), running.address.to_string())].into(),
            timeout: crate::support::TIMEOUT,
            ..Dialer::default()
        },
        tls: tls::client(Some(ca.path()), HttpVersion::Auto.alpn()).unwrap(),
    });
    let upstream = Upstream::new(connector, HttpVersion::Auto, Tasks::default());
    let origin = Origin::parse("https://graph.facebook.com").unwrap();
    let status = match upstream.wait(&origin).await {
        Ok(lease) => {
            let request = Request::get("/me").body(Body::default()).unwrap();
            Ok(lease.send(request).await.unwrap().status().as_u16())
        }
        Err(failure) => Err(format!("{failure:?}")),
    };
    running.stop().await;
    status
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_is_served_and_others_are_not() {
    let clock = Clock::system();
    let (trusted, untrusted) = (CertAuthority::new(&clock).unwrap(), CertAuthority::new(&clock).unwrap());
    let leaf = CertSpec::for_graph(&clock);
    assert_eq!(connect(&trusted, &trusted, &leaf).await, Ok(400));
    let refused = connect(&untrusted, &trusted, &leaf).await.unwrap_err();
    assert!(refused.contains("kind: Certificate"), "{refused}");
}

#[tokio::test]
async fn a_wrong_name_and_an_expired_certificate_are_refused() {
    let clock = Clock::system();
    let trusted = CertAuthority::new(&clock).unwrap();
    let mut wrong = CertSpec::for_graph(&clock);
    wrong.names = vec!["graph.example.com".to_owned()];
    let refused = connect(&trusted, &trusted, &wrong).await.unwrap_err();
    assert!(refused.contains("certificate not valid for name"), "{refused}");
    let mut expired = CertSpec::for_graph(&clock);
    expired.not_after = clock.now() - Duration::from_secs(60);
    let refused = connect(&trusted, &trusted, &expired).await.unwrap_err();
    assert!(refused.contains("certificate expired"), "{refused}");
}
