//! Businesses that sign up through the admin listener, and their OAuth codes.

use std::fs;

use fake_graph::{CodeRequest, TokenChange};
use serde_json::{Value, json};

use crate::admin_changes::{Answer, LOCAL, send};
use crate::admin_tenants::STATEMENTS;
use crate::support::{Client, Graph, Sidecar, fingerprint, together};
use crate::tenants_from::support::{Service, assert_is, me, refusal, wait_until_started};

/// A code whose token may act on these objects, and is shown by the name.
fn code(graph: &Graph, name: &str, ids: &[&str], redirect_uri: Option<&str>) -> String {
    graph.sim.issue_code(CodeRequest {
        redirect_uri: redirect_uri.map(str::to_owned),
        token: TokenChange {
            target_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            name: Some(name.to_owned()),
            ..TokenChange::default()
        },
        ..CodeRequest::default()
    })
}

fn sign_up(sidecar: &Sidecar, body: &Value) -> Answer {
    send(sidecar.admin, "POST /admin/signup", LOCAL, &body.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_that_signs_up_is_stored_with_its_ids_and_served_and_its_code_is_sent_once() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let graph = &service.graph;
    graph.sim.set_phone_numbers("206", &["106", "108"]);
    let embedded = code(graph, "acme", &["206"], None);
    let answer = sign_up(&sidecar, &json!({ "code": embedded, "tenant": "acme" }));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["wabaId"], "206");
    assert_eq!(answer.json()["phoneNumberIds"], json!(["106", "108"]));
    let token = service.token_of("acme");
    assert_eq!(answer.json()["token"], fingerprint(&token).as_str());
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(
        client.get("/v26.0/106?fields=id").await.status,
        200,
        "its ids were stored"
    );

    let redirect = "https://app.example/back?a=1&b=2";
    let of_dialog = code(graph, "later", &["209"], Some(redirect));
    let body = json!({ "code": of_dialog, "redirect_uri": redirect, "tenant": "later" });
    let answer = sign_up(&sidecar, &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_is(&me(&mut client, "later").await, "later");

    // Neither a code that was used nor one that Graph refuses is sent again.
    let wrong = code(graph, "wrong", &["206"], Some(redirect));
    let refused = sign_up(&sidecar, &json!({ "code": wrong, "tenant": "wrong" }));
    assert_eq!(refused.status, 409, "{}", refused.text);
    for (code, tenant) in [(&embedded, "acme"), (&of_dialog, "other"), (&wrong, "wrong")] {
        let again = sign_up(
            &sidecar,
            &json!({ "code": code, "redirect_uri": redirect, "tenant": tenant }),
        );
        assert_eq!(again.status, 409, "{}", again.text);
        assert!(again.message().contains("was sent to Graph before"), "{}", again.text);
    }
    assert_eq!(service.token_of("acme"), token);
    assert_eq!(refusal(&me(&mut client, "wrong").await).0, 404);
    assert_eq!(graph.sim.violations(), []);
    sidecar
        .assert_reveals_none_of(&[&embedded, &of_dialog, &wrong, &token])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_that_signs_up_again_for_another_account_replaces_its_token_only_by_force() {
    let _turn = together().await;
    let service = Service::start().await;
    let current = service.insert("acme", "106", "206");
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    service.graph.sim.set_phone_numbers("209", &["109"]);
    let sign_up = |query: &str| {
        let body = json!({ "code": code(&service.graph, "acme-2", &["209"], None), "tenant": "acme" });
        send(
            sidecar.admin,
            &format!("POST /admin/signup{query}"),
            LOCAL,
            &body.to_string(),
        )
    };
    let answer = sign_up("");
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.json()["error"]["differences"].is_string(), "{}", answer.text);
    for words in ["?force=yes", "let the business sign up again"] {
        assert!(answer.message().contains(words), "{}", answer.text);
    }
    assert_eq!(service.token_of("acme"), current);
    assert_is(&me(&mut client, "acme").await, "acme");
    let answer = sign_up("?force=yes");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_is(&me(&mut client, "acme").await, "acme-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_not_sent_if_its_token_could_not_be_stored() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let code = code(&service.graph, "acme", &["206"], None);
    let body = json!({ "code": code, "tenant": "acme" });
    {
        let (_dir, sidecar) = service.sidecar("").await;
        for _ in 0..2 {
            let answer = sign_up(&sidecar, &body);
            assert_eq!(answer.status, 409, "{}", answer.text);
            assert!(answer.message().contains("without `upsert`"), "{}", answer.text);
        }
        for bad in [
            json!({}),
            json!([]),
            json!({ "code": code }),
            json!({ "code": "", "tenant": "acme" }),
            json!({ "code": code, "tenant": "acme", "uri": "x" }),
            json!({ "code": code, "tenant": "a/b" }),
        ] {
            let answer = sign_up(&sidecar, &bad);
            assert_eq!(answer.status, 400, "{bad}: {}", answer.text);
            assert!(!answer.text.contains(&code), "{}", answer.text);
        }
        sidecar.assert_reveals_none_of(&[&code]).await;
    }
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let answer = sign_up(&sidecar, &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_was_used_before_a_restart_is_not_sent_again() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let code = code(&service.graph, "acme", &["206"], None);
    let body = json!({ "code": code, "tenant": "acme" });
    let (dir, sidecar) = service
        .sidecar(&format!("{STATEMENTS}[state]\ndir = \"state\"\n"))
        .await;
    let answer = sign_up(&sidecar, &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    drop(sidecar);
    let config = fs::read_to_string(dir.path().join("graphward.toml")).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    let answer = sign_up(&sidecar, &body);
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.message().contains("was sent to Graph before"), "{}", answer.text);
    assert_eq!(service.graph.sim.violations(), []);
    sidecar.assert_reveals_none_of(&[&code]).await;
}
