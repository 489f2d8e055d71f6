//! Graph's last rejection of a dead token, and who may be answered with it.

use std::time::Duration;

use graphward::graph::GraphError;
use graphward::proxy::DeadTokenPolicy;
use graphward::token::Liveness;
use tokio::time::{Instant, sleep};

use crate::dead_tokens::{assert_repeated, is_repeated, proxy_with_dead_token, proxy_with_policy};
use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, ScriptedResponse, get, request, sized, with,
};

#[tokio::test(start_paused = true)]
async fn a_head_gets_the_head_of_it_and_is_no_rejection_to_repeat() {
    for protocols in PROTOCOL_PAIRS {
        let (proxy, last) = proxy_with_dead_token(protocols, DeadTokenPolicy::Probe).await;
        let head = proxy.app.fetch(request("HEAD", "/v21.0/me", sized(""))).await;
        assert_eq!((head.status, head.text()), (401, ""));
        assert!(is_repeated(&head));
        sleep(Duration::from_secs(1)).await;
        let probe = proxy.app.fetch(request("HEAD", "/v21.0/me", sized(""))).await;
        assert!(!is_repeated(&probe));
        assert_repeated(&proxy.app.get("/v21.0/me").await, &last);
        assert_eq!(proxy.graph.attempts(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_rejection_is_repeated_to_those_who_cannot_unpack_it() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_policy(protocols, DeadTokenPolicy::Probe).start().await;
        proxy.graph.expire_all();
        proxy
            .graph
            .reject_with(ScriptedResponse::expired().gzipped().with("etag", "\"1\""));
        let packed = with(get("/v21.0/me"), &[("accept-encoding", "gzip")]);
        assert_eq!(proxy.app.fetch(packed).await.header("content-encoding"), "gzip");
        let answer = proxy.app.get("/v21.0/me").await;
        assert_eq!((answer.status, answer.text()), (401, EXPIRED_ERROR));
        assert!(is_repeated(&answer) && !answer.headers.contains_key("content-encoding"));
        assert_eq!(answer.header("etag"), "W/\"1\"");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_graph_quotes_of_the_token_is_not_repeated_either() {
    let proxy = proxy_with_policy(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe)
        .start()
        .await;
    proxy.graph.expire_all();
    let quotes = format!(r#"{{"error":{{"message":"Malformed access token {FIRST_TOKEN}","code":190}}}}"#);
    proxy
        .graph
        .reject_with(ScriptedResponse::json(400, quotes.clone()).with(
            "www-authenticate",
            &format!(r#"OAuth "Facebook Platform" "invalid_token" "Malformed access token {FIRST_TOKEN}""#),
        ));
    let last = proxy.app.post("x").await;
    let answer = proxy.app.post("x").await;
    assert_repeated(&answer, &last);
    assert_eq!(answer.text(), quotes.replace(FIRST_TOKEN, "[redacted]"));
    assert!(!format!("{answer:?}").contains(FIRST_TOKEN));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_only_its_asker_can_read_is_not_repeated() {
    let proxy = proxy_with_policy(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe)
        .start()
        .await;
    proxy.graph.expire_all();
    let call = format!("/**/ mine({EXPIRED_ERROR});");
    proxy.script(ScriptedResponse::new(400, "text/javascript", call.clone()));
    assert_eq!(proxy.app.get("/me?callback=mine").await.text(), call);
    let last = proxy.app.get("/me").await;
    assert_eq!(last.text(), EXPIRED_ERROR);
    assert_eq!(proxy.graph.attempts(), 2, "there was nothing to repeat");
    assert_repeated(&proxy.app.get("/me").await, &last);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_answered_as_graph_answers_one_with_a_dead_token() {
    let (proxy, last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    let batch = r#"{"batch":[{"method":"GET","relative_url":"me"}]}"#;
    let batch = with(
        request("POST", "/v21.0/", sized(batch)),
        &[("content-type", "application/json")],
    );
    assert_repeated(&proxy.app.fetch(batch).await, &last);
    assert_eq!(proxy.graph.attempts(), 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_item_of_a_batch_keeps_nothing_back() {
    for policy in [DeadTokenPolicy::Probe, DeadTokenPolicy::Refuse] {
        let builder = proxy_with_policy(PROTOCOL_PAIRS[0], policy);
        let proxy = builder
            .with(|config| config.heal.hold_timeout = Duration::from_secs(2))
            .start()
            .await;
        let item = serde_json::to_string(EXPIRED_ERROR).unwrap();
        let answer = format!(r#"[{{"code":400,"body":{item}}}]"#);
        proxy.script(ScriptedResponse::json(200, answer));
        let batch = with(
            request(
                "POST",
                "/",
                sized(r#"{"batch":[{"method":"GET","relative_url":"me"}]}"#),
            ),
            &[("content-type", "application/json")],
        );
        assert_eq!(proxy.app.fetch(batch).await.status, 200);
        assert!(!proxy.tokens.is_usable());
        let began = Instant::now();
        let answers = proxy.post_many(20).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(began.elapsed() < Duration::from_millis(20));
        assert!(proxy.tokens.is_usable());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_was_taken_back_is_never_repeated() {
    let (proxy, _last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    proxy.graph.accept(FIRST_TOKEN);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(proxy.app.post("the probe").await.status, 200);
    proxy.tokens.mark_rejected(
        proxy.tokens.current().unwrap().generation(),
        &GraphError::invalid_token(),
    );
    let answers = proxy.post_many(20).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_a_token_of_its_own_is_not_concerned() {
    for policy in [DeadTokenPolicy::Probe, DeadTokenPolicy::Refuse] {
        let (proxy, _last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], policy).await;
        proxy.graph.accept("123|abc");
        for _ in 0..5 {
            let own = with(get("/v21.0/app"), &[("authorization", "Bearer 123|abc")]);
            assert_eq!(proxy.app.fetch(own).await.status, 200);
        }
        assert!(!proxy.tokens.is_usable(), "that says nothing about ours");
        assert_eq!(proxy.graph.attempts(), 6);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_could_not_be_sent_again_waits_and_is_then_answered_unsent() {
    for protocols in PROTOCOL_PAIRS {
        let builder = proxy_with_policy(protocols, DeadTokenPolicy::Probe);
        let proxy = builder
            .with(|config| {
                config.heal.body_memory = 16;
                config.heal.body_disk = 32;
            })
            .start()
            .await;
        proxy.graph.expire_all();
        let last = proxy.app.post("x").await;
        let large = "y".repeat(100);
        assert_repeated(&proxy.app.post(large.clone()).await, &last);
        assert_eq!(proxy.graph.attempts(), 1);
        sleep(Duration::from_secs(1)).await;
        let probe = proxy.app.post(large).await;
        assert!(!is_repeated(&probe));
        assert_eq!(proxy.requests_with_outcome("unhealed_not_replayable").await, 1);
        assert_eq!(proxy.graph.attempts(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_family_is_told_so_all_the_same() {
    let (proxy, _last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    let elsewhere = with(get("/v21.0/me"), &[("host", "graph.instagram.com")]);
    let answer = proxy.app.fetch(elsewhere).await;
    answer.refused(421, "proxy_configuration_error");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_refresher_hears_graphs_own_reason_wherever_it_is_said() {
    let checkpoint = EXPIRED_ERROR.replace("463", "459");
    let item = serde_json::to_string(&checkpoint).unwrap();
    let items = format!(r#"[{{"code":400,"body":{item}}}]"#);
    let me = |method| request(method, "/v21.0/me", sized(""));
    let batch = || {
        let items = r#"{"batch":[{"method":"GET","relative_url":"me"}]}"#;
        let json = [("content-type", "application/json")];
        with(request("POST", "/", sized(items)), &json)
    };
    let challenged = ScriptedResponse::expired();
    for (asked, reply, reason) in [
        (me("GET"), ScriptedResponse::json(401, checkpoint), "subcode 459)"),
        (batch(), ScriptedResponse::json(200, items), "subcode 459)"),
        (me("HEAD"), challenged, "(code 190)"),
    ] {
        let logged = LogCapture::at_info();
        let proxy = proxy_with_policy(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe)
            .start()
            .await;
        proxy.graph.expire_all();
        proxy.script(reply);
        proxy.app.fetch(asked).await;
        sleep(Duration::from_millis(10)).await;
        let said = logged.lines_containing("Graph rejected the token ");
        assert!(matches!(&said[..], [one] if one.contains(reason)), "{said:?}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresher_hears_why_the_second_token_was_rejected_too() {
    let logged = LogCapture::at_info();
    let proxy = proxy_with_policy(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe)
        .start()
        .await;
    proxy.rotate_token();
    proxy.script(ScriptedResponse::expired());
    let second = EXPIRED_ERROR.replace("463", "492");
    let answer = GraphError::parse(second.as_bytes()).unwrap();
    proxy.liveness.set_answer(Liveness::Dead(answer));
    proxy.script(ScriptedResponse::json(400, second));
    proxy.app.get("/me").await;
    sleep(Duration::from_millis(10)).await;
    let said = logged.lines_containing("Graph rejected the token ");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("subcode 463)") && said[1].contains("subcode 492)"),
        "{said:?}"
    );
    proxy.shutdown().await;
}
