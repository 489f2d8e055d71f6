//! A rejection that does not prove that the token is dead: Graph is asked before anything else happens.

use std::time::Duration;

use futures_util::future::join_all;
use graphward::graph::GraphError;
use graphward::token::Liveness;
use tokio::time::{Instant, sleep};

use crate::body_credentials::{STALE, json, post_as};
use crate::request_bodies::MIB;
use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, Protocols, SECOND_TOKEN, ScriptedResponse, TestProxy,
    TestProxyBuilder, post_file, request, sized,
};

/// What Graph answers a user's token where only a page's will do.
pub(crate) const WRONG_KIND: &str = r#"{"error":{"message":"This method must be called with a Page Access Token","type":"OAuthException","code":190,"fbtrace_id":"A"}}"#;
pub(crate) const FORMS: &str = "/v21.0/1234/leadgen_forms";

pub(crate) fn wrong_kind() -> ScriptedResponse {
    ScriptedResponse::json(400, WRONG_KIND)
}

/// What a token that was revoked without a subcode hears.
pub(crate) fn bare_rejection() -> ScriptedResponse {
    ScriptedResponse::error(400, 190)
}

/// A proxy with a renewer, whose Graph rejects every token at one edge.
pub(crate) async fn proxy_with_wrong_edge(protocols: Protocols) -> TestProxy {
    let proxy = TestProxyBuilder::over(protocols).with_renewer().start().await;
    proxy.graph.respond_at("leadgen_forms", wrong_kind());
    proxy
}

async fn wrong_kind_count(proxy: &TestProxy) -> i64 {
    proxy
        .metric(r#"graphward_upstream_responses_total{tenant="default",verdict="wrong_token_kind"}"#)
        .await
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_needs_another_kind_of_token_stops_no_other_request() {
    for protocols in PROTOCOL_PAIRS {
        let logged = LogCapture::at_info();
        let proxy = proxy_with_wrong_edge(protocols).await;
        let began = Instant::now();
        for round in 1..=5 {
            let others = join_all((0..20).map(|_| proxy.app.post("x")));
            let (wrong, others) = tokio::join!(proxy.app.get(FORMS), others);
            assert_eq!((wrong.status, wrong.text()), (400, WRONG_KIND), "unchanged");
            assert!(others.iter().all(|answer| answer.status == 200));
            assert_eq!(proxy.graph.attempts(), 21 * round, "each once");
            assert_eq!(proxy.admin_get("/readyz").await.status, 200);
        }
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(proxy.liveness.calls(), 1, "the answer holds for this edge");
        assert_eq!(proxy.renewer.calls(), 0);
        assert_eq!(wrong_kind_count(&proxy).await, 5);
        assert_eq!(proxy.requests_with_outcome("delivered").await, 105);
        assert_eq!(
            logged.lines_containing("Graph rejected the token "),
            Vec::<String>::new()
        );
        assert_eq!(logged.lines_containing(r#""verdict":"wrong_token_kind""#).len(), 5);
        assert_eq!(proxy.app.post("x").await.status, 200);
        sleep(Duration::from_secs(31)).await;
        assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
        assert_eq!(proxy.liveness.calls(), 2, "it holds for 30 seconds");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_edge_of_that_kind_causes_one_question() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    proxy.liveness.set_delay(Duration::from_millis(50));
    let requests = (0_u64..200).map(|millis| {
        let proxy = &proxy;
        async move {
            sleep(Duration::from_millis(millis)).await;
            let began = Instant::now();
            assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
            began.elapsed()
        }
    });
    let longest = join_all(requests).await.into_iter().max().unwrap();
    assert!(longest <= Duration::from_millis(60), "{longest:?}");
    assert_eq!((proxy.liveness.calls(), wrong_kind_count(&proxy).await), (1, 200));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_confirmed_and_then_revoked_without_a_subcode_is_replaced() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_wrong_edge(protocols).await;
        assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
        assert_eq!(proxy.app.post("before").await.status, 200);
        proxy.graph.expire_all();
        proxy.graph.reject_with(bare_rejection());
        assert_eq!(
            proxy.app.get(FORMS).await.text(),
            bare_rejection().bytes(),
            "taken for the same"
        );
        let answers = join_all((0..20).map(|_| proxy.app.post("after"))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(proxy.renewer.calls(), 1);
        assert_eq!(proxy.requests_with_outcome("healed").await, 20);
        assert_eq!(
            proxy.app.get(FORMS).await.text(),
            WRONG_KIND,
            "asked about the new token"
        );
        assert_eq!(proxy.renewer.calls(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_has_succeeded_is_asked_about_once_a_second_so_that_a_revocation_is_never_missed() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    assert_eq!(proxy.app.post("it works").await.status, 200);
    proxy.graph.enqueue(wrong_kind());
    assert_eq!(proxy.app.post("for a page").await.text(), WRONG_KIND);
    assert_eq!(proxy.liveness.calls(), 1);
    sleep(Duration::from_millis(300)).await;
    proxy.graph.expire_all();
    proxy.graph.reject_with(bare_rejection());
    let began = Instant::now();
    let answers = join_all((0..50).map(|_| proxy.app.post("x"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(proxy.liveness.calls(), 2);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn where_graph_cannot_be_asked_one_edge_causes_no_renewal_and_holds_up_no_other() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_wrong_edge(protocols).await;
        proxy.liveness.set_answer(Liveness::Unknown);
        let began = Instant::now();
        let others = async {
            sleep(Duration::from_millis(100)).await;
            join_all((0..20).map(|_| proxy.app.post("x"))).await;
            began.elapsed()
        };
        let (wrong, others_took) = tokio::join!(proxy.app.get(FORMS), others);
        assert_eq!(wrong.text(), WRONG_KIND);
        assert!(began.elapsed() >= Duration::from_secs(2), "a newer token may have come");
        assert!(others_took < Duration::from_millis(150), "{others_took:?}");
        assert_eq!(proxy.admin_get("/readyz").await.status, 200);
        assert_eq!(proxy.renewer.calls(), 0);

        // A second edge without a success in between: the token counts as dead.
        proxy.graph.respond_at("tabs", wrong_kind());
        proxy.app.get("/v21.0/1234/leadgen_forms").await;
        proxy.app.get("/v21.0/1234/tabs").await;
        assert!(proxy.renewer.calls() >= 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_rejections_by_one_edge_over_two_seconds_are_enough_where_graph_cannot_be_asked() {
    let builder = TestProxyBuilder::new().with_renewer();
    let builder = builder.with(|config| config.heal.hold_timeout = Duration::from_secs(3));
    let proxy = builder.start().await;
    proxy.liveness.set_answer(Liveness::Unknown);
    proxy.graph.expire_all();
    proxy.graph.reject_with(bare_rejection());
    let ask_later = async |seconds| {
        sleep(Duration::from_secs(seconds)).await;
        proxy.app.post("x").await.status
    };
    let statuses = tokio::join!(ask_later(0), ask_later(1), ask_later(2));
    assert_eq!(statuses, (200, 200, 200), "all were held, and the third is convincing");
    assert_eq!(proxy.renewer.calls(), 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_heals_at_once_while_graph_is_asked() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).start().await;
        proxy.rotate_token();
        proxy.graph.reject_with(bare_rejection());
        proxy.liveness.set_delay(Duration::from_secs(60));
        let began = Instant::now();
        let answers = join_all((0..20).map(|_| proxy.app.post("x"))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_ends_with_the_hold() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    proxy.liveness.set_delay(Duration::from_secs(60));
    let began = Instant::now();
    assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
    assert!(began.elapsed() < Duration::from_millis(2_050), "{:?}", began.elapsed());
    assert_eq!((proxy.liveness.calls(), proxy.renewer.calls()), (1, 0));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn graphs_answer_to_the_question_is_what_the_operator_is_told() {
    let logged = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.expire_all();
    proxy.graph.reject_with(bare_rejection());
    let answer = GraphError::parse(EXPIRED_ERROR.as_bytes()).unwrap();
    proxy.liveness.set_answer(Liveness::Dead(answer));
    assert_eq!(proxy.app.post("x").await.status, 400);
    let said = logged.lines_containing("Graph rejected the token ");
    assert!(matches!(&said[..], [one] if one.contains("subcode 463")), "{said:?}");
    assert_eq!(proxy.admin_get("/readyz").await.status, 503);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_not_searched_may_be_why_graph_rejects_the_token() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    let stale = json(STALE, 8 * MIB);
    let file = post_file(sized("a file"));
    for (request, outcome) in [(post_as(stale.kind, sized(stale.sent)), "form"), (file, "file")] {
        proxy.graph.enqueue(ScriptedResponse::expired());
        let answer = proxy.app.fetch(request).await;
        assert_eq!(answer.text(), EXPIRED_ERROR, "{outcome}");
        assert_eq!(proxy.admin_get("/readyz").await.status, 200, "{outcome}");
    }
    assert_eq!(proxy.renewer.calls(), 0);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn heads_batch_items_and_second_attempts_are_confirmed_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_wrong_edge(protocols).await;
        let head = wrong_kind().with("www-authenticate", r#"OAuth "Facebook Platform" "invalid_token" "x""#);
        proxy.graph.respond_at("ratings", head);
        assert_eq!(
            proxy.app.fetch(request("HEAD", "/1/ratings", sized(""))).await.status,
            400
        );
        let item = serde_json::to_string(WRONG_KIND).unwrap();
        proxy.graph.enqueue(ScriptedResponse::json(
            200,
            format!(r#"[{{"code":400,"body":{item}}}]"#),
        ));
        let batch = crate::support::with(
            request(
                "POST",
                "/",
                sized(r#"{"batch":[{"method":"GET","relative_url":"1/tabs"}]}"#),
            ),
            &[("content-type", "application/json")],
        );
        assert_eq!(proxy.app.fetch(batch).await.status, 200);
        sleep(Duration::from_secs(3)).await;
        assert_eq!((proxy.renewer.calls(), proxy.tokens.is_usable()), (0, true));
        // The token is replaced for a good reason, and the new one is of the wrong kind as well.
        proxy.graph.enqueue(ScriptedResponse::expired());
        assert_eq!(proxy.app.get(FORMS).await.text(), WRONG_KIND);
        sleep(Duration::from_secs(3)).await;
        assert_eq!((proxy.renewer.calls(), proxy.tokens.is_usable()), (1, true));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_without_traffic_is_asked_about_until_graph_accepts_it() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.expire_all();
    assert_eq!(proxy.app.post("the only one").await.text(), EXPIRED_ERROR);
    let ready = proxy.admin_get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("Graph rejected the token"), "{}", ready.text());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(proxy.admin_get("/readyz").await.status, 503);
    let asked = proxy.liveness.calls();
    assert!((4..=6).contains(&asked), "{asked} questions in a minute");
    proxy.graph.accept(FIRST_TOKEN);
    sleep(Duration::from_secs(5 * 60)).await;
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
    assert_eq!(proxy.graph.attempts(), 1, "by questions alone");
    assert_eq!(proxy.app.post("x").await.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_cannot_be_resolved_is_told_by_readyz() {
    let proxy = proxy_with_wrong_edge(PROTOCOL_PAIRS[0]).await;
    proxy.liveness.set_answer(Liveness::Unknown);
    proxy.app.get(FORMS).await;
    let ready = proxy.admin_get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("could not be asked"), "{}", ready.text());
    proxy.liveness.set_answer(None);
    sleep(Duration::from_secs(10)).await;
    let ready = proxy.admin_get("/readyz").await;
    assert!(ready.text().contains("token available"), "{}", ready.text());
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_ends_the_question_about_the_one_before() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).start().await;
        proxy.graph.respond_at("leadgen_forms", wrong_kind());
        proxy.liveness.set_delay(Duration::from_secs(60));
        let began = Instant::now();
        let operator = async {
            sleep(Duration::from_millis(100)).await;
            proxy.liveness.set_delay(Duration::ZERO);
            proxy.graph.expire_all();
            proxy.publish_token(SECOND_TOKEN);
        };
        let (wrong, ()) = tokio::join!(proxy.app.get(FORMS), operator);
        assert_eq!(wrong.text(), WRONG_KIND, "of the new token");
        assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
        assert_eq!(proxy.liveness.calls(), 2);
        proxy.shutdown().await;
    }
}

/// The token dies while hundreds of requests are in flight, and Graph's answers overtake each other: acceptances of attempts
/// that began before the first rejection arrive after it, each followed at once by one more rejection.
#[tokio::test(start_paused = true)]
async fn late_acceptances_of_a_dying_token_let_no_held_request_go() {
    for protocols in PROTOCOL_PAIRS {
        for rejection in [ScriptedResponse::expired(), bare_rejection()] {
            let proxy = TestProxyBuilder::over(protocols).start().await;
            let scripted = |reply: &ScriptedResponse, millis| {
                proxy
                    .graph
                    .enqueue(reply.clone().delayed(Duration::from_millis(millis)));
            };
            scripted(&rejection, 0);
            for pair in 0..30 {
                scripted(&ScriptedResponse::json(200, "{}"), 10 + 5 * pair);
                scripted(&rejection, 10 + 5 * pair);
            }
            let storm = join_all((0..61).map(|_| proxy.app.post("x")));
            let meanwhile = async {
                proxy.graph.expire_all();
                proxy.graph.reject_with(rejection.clone());
                let later = (0_u64..100).map(|number| {
                    let proxy = &proxy;
                    async move {
                        sleep(Duration::from_millis(3 + 2 * number)).await;
                        proxy.app.post("later").await
                    }
                });
                join_all(later).await
            };
            let operator = async {
                sleep(Duration::from_millis(1_900)).await;
                proxy.graph.accept(SECOND_TOKEN);
                proxy.source.publish(SECOND_TOKEN);
            };
            let (storm, later, ()) = tokio::join!(storm, meanwhile, operator);
            let lost = storm.iter().chain(&later).filter(|answer| answer.status != 200);
            assert_eq!(lost.count(), 0, "{protocols:?} {rejection:?}");
            proxy.shutdown().await;
        }
    }
}
