use std::time::Duration;

use graphward::net::HttpVersion;
use graphward::sim::tls::{CertAuthority, CertSpec};
use graphward::sim::{Sim, SimConfig};
use graphward::types::Clock;

use crate::support::{client, loopback, request};

/// What a client that trusts `trusted` says of a listener whose certificate is `leaf`, signed by `signer`.
async fn connect(trusted: &CertAuthority, signer: &CertAuthority, leaf: &CertSpec) -> Result<u16, String> {
    let sim = Sim::new(SimConfig::new(Clock::system()));
    let acceptor = signer.acceptor(leaf, HttpVersion::Auto.alpn()).unwrap();
    let running = sim.start(loopback().await, Some(acceptor));
    let client = client(trusted.pem(), HttpVersion::Auto, running.address);
    let answer = client.request(request("GET", "/me", "", &[], "")).await;
    running.stop().await;
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_is_served_and_others_are_not() {
    let clock = Clock::system();
    let (ours, theirs) = (CertAuthority::new(&clock).unwrap(), CertAuthority::new(&clock).unwrap());
    let leaf = CertSpec::for_graph(&clock);
    assert_eq!(connect(&ours, &ours, &leaf).await, Ok(400));
    let refused = connect(&theirs, &ours, &leaf).await.unwrap_err();
    assert!(refused.contains("Tls"), "{refused}");
}

#[tokio::test]
async fn a_wrong_name_and_an_expired_certificate_are_refused() {
    let clock = Clock::system();
    let ours = CertAuthority::new(&clock).unwrap();
    let mut wrong = CertSpec::for_graph(&clock);
    wrong.names = vec!["graph.example.com".to_owned()];
    let refused = connect(&ours, &ours, &wrong).await.unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    let mut expired = CertSpec::for_graph(&clock);
    expired.not_after = clock.now() - Duration::from_secs(60);
    let refused = connect(&ours, &ours, &expired).await.unwrap_err();
    assert!(refused.contains("Expired"), "{refused}");
}
