//! An edge that is known to need another kind of token, when the token dies without a subcode.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::confirmation::{FORMS, WRONG_KIND, bare_rejection, proxy_with_wrong_edge, wrong_kind};
use crate::support::{PROTOCOL_PAIRS, ScriptedResponse, TestProxyBuilder};

/// Requests to an edge that is known to need another kind of token, among others, when the token is revoked without a subcode;
/// the newer token is of the kind that the edge needs.
#[tokio::test(start_paused = true)]
async fn a_known_edge_waits_with_the_others_when_the_token_dies() {
    for protocols in PROTOCOL_PAIRS {
        for contradicting in ["/v21.0/1/photos", "/v21.0/1/tabs"] {
            let proxy = TestProxyBuilder::over(protocols).start().await;
            proxy.graph.respond_at("leadgen_forms", wrong_kind());
            assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
            // This endpoint has succeeded, the other one is new.
            assert_eq!(proxy.app.get("/v21.0/1/photos").await.status, 200);
            proxy.graph.expire_all();
            proxy.graph.reject_with(bare_rejection());
            proxy.liveness.set_delay(Duration::from_millis(50));
            let operator = async {
                sleep(Duration::from_millis(800)).await;
                proxy
                    .graph
                    .respond_at("leadgen_forms", ScriptedResponse::json(200, "{}"));
                proxy.rotate_token();
            };
            let requests = (0_u64..120).map(|number| {
                let proxy = &proxy;
                async move {
                    sleep(Duration::from_millis(5 * number)).await;
                    let is_known = number % 3 != 0;
                    proxy.app.get(if is_known { FORMS } else { contradicting }).await.status
                }
            });
            let (statuses, ()) = tokio::join!(join_all(requests), operator);
            assert_eq!(statuses, [200; 120], "{protocols:?} {contradicting}");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_edge_without_other_requests_waits_a_few_seconds_after_the_token_has_died() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
    proxy.graph.expire_all();
    proxy.graph.reject_with(bare_rejection());
    proxy
        .graph
        .respond_at("leadgen_forms", ScriptedResponse::json(200, "{}"));
    let died = Instant::now();
    while proxy.app.get(FORMS).await.status != 200 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(died.elapsed() < Duration::from_millis(5_300), "{:?}", died.elapsed());
    assert_eq!((proxy.liveness.calls(), proxy.renewer.calls()), (2, 1));
    proxy.shutdown().await;
}
