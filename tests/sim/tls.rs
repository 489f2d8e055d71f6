use std::time::Duration;

use graphward::net::Http;
use graphward::sim::tls::{Authority, Leaf};
use graphward::sim::{Settings, Sim};
use graphward::types::Clock;

use crate::support::{client, loopback, request};

/// What a client that trusts `trusted` says of a listener whose certificate is `leaf`, signed by `signer`.
async fn meets(trusted: &Authority, signer: &Authority, leaf: &Leaf) -> Result<u16, String> {
    let sim = Sim::new(Settings::new(Clock::system()));
    let acceptor = signer.acceptor(leaf, Http::Auto.alpn()).unwrap();
    let running = sim.start(loopback().await, Some(acceptor));
    let client = client(trusted.pem(), Http::Auto, running.address);
    let answer = client.request(request("GET", "/me", "", &[], "")).await;
    running.stop().await;
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_is_served_and_others_are_not() {
    let clock = Clock::system();
    let (ours, theirs) = (
        Authority::new(&clock).unwrap(),
        Authority::new(&clock).unwrap(),
    );
    let leaf = Leaf::graph(&clock);
    assert_eq!(meets(&ours, &ours, &leaf).await, Ok(400));
    let refused = meets(&theirs, &ours, &leaf).await.unwrap_err();
    assert!(refused.contains("Tls"), "{refused}");
}

#[tokio::test]
async fn a_wrong_name_and_an_expired_certificate_are_refused() {
    let clock = Clock::system();
    let ours = Authority::new(&clock).unwrap();
    let mut wrong = Leaf::graph(&clock);
    wrong.names = vec!["graph.example.com".to_owned()];
    let refused = meets(&ours, &ours, &wrong).await.unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    let mut expired = Leaf::graph(&clock);
    expired.not_after = clock.wall() - Duration::from_secs(60);
    let refused = meets(&ours, &ours, &expired).await.unwrap_err();
    assert!(refused.contains("Expired"), "{refused}");
}
