//! Which headers of the app reach Graph.

use graphward::proxy::AccessLogFilter;

use crate::support::{LogCapture, PROTOCOL_PAIRS, TestProxyBuilder, get, with};

#[tokio::test(start_paused = true)]
async fn a_trace_goes_on_and_what_else_the_app_says_of_itself_stays_here() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = TestProxyBuilder::over(protocols)
            .with(|config| config.log.requests = AccessLogFilter::All)
            .start()
            .await;
        let headers = [
            ("traceparent", traceparent.as_str()),
            ("tracestate", "a=1,b=2"),
            ("baggage", "user=alice"),
            ("x-request-id", "1"),
        ];
        assert_eq!(proxy.app.fetch(with(get("/me"), &headers)).await.status, 200);
        let arrived = proxy.graph.last_request();
        assert_eq!(arrived.all("traceparent"), [&traceparent]);
        assert_eq!(arrived.all("tracestate"), ["a=1,b=2"]);
        assert!(arrived.all("baggage").is_empty() && arrived.all("x-request-id").is_empty());
        proxy.shutdown().await;
        let lines = log.lines_containing(r#""message":"request""#);
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["trace_id"], trace);
        assert!(event["upstream_ms"].is_u64());
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_says_which_headers_stay_here() {
    let proxy = TestProxyBuilder::new()
        .with(|config| config.upstream.remove_headers = vec!["x-secret".to_owned()])
        .start()
        .await;
    let headers = [("x-secret", "1"), ("baggage", "user=alice"), ("x-request-id", "1")];
    proxy.app.fetch(with(get("/me"), &headers)).await;
    let arrived = proxy.graph.last_request();
    assert!(arrived.all("x-secret").is_empty());
    assert_eq!(arrived.all("baggage"), ["user=alice"]);
    assert_eq!(arrived.all("x-request-id"), ["1"]);
    proxy.shutdown().await;
}
