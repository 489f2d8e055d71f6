//! Businesses that sign up through the admin listener, and their OAuth codes.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use fake_graph::{CodeRequest, EndpointKind, Fault, TokenChange};
use serde_json::{Value, json};

use crate::admin_changes::{Answer, LOCAL, send};
use crate::admin_tenants::STATEMENTS;
use crate::support::{Client, Graph, Sidecar, fingerprint, together, wait_until};
use crate::tenants_from::support::{Service, assert_is, config, me, refusal, wait_until_started};

/// A code whose token may act on these objects, and is shown by the name.
pub(crate) fn code(graph: &Graph, name: &str, ids: &[&str], redirect_uri: Option<&str>) -> String {
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

/// Fails unless the answer has this status and says that the code is used up, once.
#[track_caller]
fn assert_used_up(answer: &Answer, status: u16, reason: &str) {
    const WORDS: &str = "; the code is used up, so let the business sign up again";
    let message = answer.message();
    assert_eq!(answer.status, status, "{message}");
    assert!(message.starts_with("the tenant was not changed: "), "{message}");
    assert!(message.contains(reason) && message.ends_with(WORDS), "{message}");
    assert_eq!(message.matches("sign up again").count(), 1, "{message}");
    assert!(!message.contains(".;"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failure_after_a_code_was_sent_says_that_the_business_has_to_sign_up_again() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let graph = &service.graph;
    let code = |name| code(graph, name, &["206"], None);
    let codes = [(); 3].map(|()| code("acme"));
    let body = |code: &str| json!({ "code": code, "tenant": "acme" });
    {
        let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
        graph.sim.inject_fault_on(EndpointKind::Exchange, Fault::error(2));
        let failed = sign_up(&sidecar, &body(&codes[0]));
        assert_used_up(&failed, 503, "temporarily unavailable");
        graph.sim.inject_fault_on(EndpointKind::Exchange, Fault::error(100));
        let refused = sign_up(&sidecar, &body(&codes[1]));
        assert_used_up(&refused, 409, "check app.id, app.secret and redirect_uri");
        for code in &codes[..2] {
            let again = sign_up(&sidecar, &body(code));
            assert!(again.message().contains("was sent to Graph before"), "{}", again.text);
        }
        sidecar.assert_reveals_none_of(&[&codes[0], &codes[1]]).await;
    }
    let raises = STATEMENTS.replace("VALUES ($2, $1, $3, $4)", "VALUES ($2, $1, $3, (1 / 0)::text || $4)");
    let (_dir, sidecar) = service.sidecar(&raises).await;
    let not_stored = sign_up(&sidecar, &body(&codes[2]));
    assert_used_up(&not_stored, 409, "22012");
    let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").text;
    assert!(events.contains("the code is used up"), "{events}");
    sidecar.assert_reveals_none_of(&[&codes[2]]).await;
}

/// Lets the first two inserts fail. The numbers of a sequence stay used when its transaction fails.
const FAIL_TWICE: &str = "
    CREATE SEQUENCE attempts;
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') <= 2 THEN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fail_twice BEFORE INSERT ON tenant_whatsapp_config FOR EACH ROW EXECUTE FUNCTION fail_twice();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_does_not_take_the_token_of_its_code_with_it() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.database.psql(FAIL_TWICE);
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(&service.graph, "acme", &["206"], None);
    let body = json!({ "code": code, "tenant": "acme" }).to_string();
    let length = body.len();
    let mut client = TcpStream::connect(sidecar.admin).unwrap();
    let head = format!("POST /admin/signup HTTP/1.1\r\n{LOCAL}Content-Length: {length}\r\n\r\n");
    client.write_all(format!("{head}{body}").as_bytes()).unwrap();
    wait_until("it was tried to store it", async || {
        service.database.psql("SELECT is_called FROM attempts") == "t"
    })
    .await;
    drop(client);
    let rows = "SELECT count(*) FROM tenant_whatsapp_config WHERE tenant_id = 'acme'";
    wait_until("it is stored", async || service.database.psql(rows) == "1").await;
    wait_until("it is an event", async || {
        send(sidecar.admin, "GET /admin/events", LOCAL, "")
            .text
            .contains("tenant_put")
    })
    .await;
    assert_is(&me(&mut Client::connect(sidecar.proxy).await, "acme").await, "acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_code_is_stored_again_while_the_table_fails_and_without_ids_if_graph_tells_none() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.database.psql(FAIL_TWICE);
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let mut client = Client::connect(sidecar.proxy).await;
    for account in ["206", "209"] {
        service.graph.sim.set_phone_numbers(account, &[]);
    }
    for (name, ids, fault, account) in [
        ("acme", &["206"][..], None, Some("206")),
        ("later", &[], None, None),
        // A failure that passes is not the last word.
        ("next", &["209"], Some(Fault::error(2)), Some("209")),
        ("last", &["210"], Some(Fault::error(100)), None),
    ] {
        let code = code(&service.graph, name, ids, None);
        if let Some(fault) = fault {
            service.graph.sim.inject_fault_on(EndpointKind::DebugToken, fault);
        }
        let answer = sign_up(&sidecar, &json!({ "code": code, "tenant": name }));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        assert_eq!(answer.json()["wabaId"], json!(account), "{name}: {}", answer.text);
        assert_eq!(answer.json()["phoneNumberIds"], json!([]), "{name}: {}", answer.text);
        let stored = fingerprint(&service.token_of(name));
        assert_eq!(answer.json()["token"], stored.as_str(), "{name}");
        assert_is(&me(&mut client, name).await, name);
    }
    assert_eq!(service.database.psql("SELECT last_value FROM attempts"), "6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_that_signs_up_is_stored_in_a_directory() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("tokens")).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "file = \"tokens/{tenant}\"")).await;
    wait_until_started(&sidecar).await;
    graph.sim.set_phone_numbers("206", &["106"]);
    let code = code(&graph, "acme", &["206"], None);
    let answer = sign_up(&sidecar, &json!({ "code": code, "tenant": "acme" }));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (account, numbers) = (&answer.json()["wabaId"], &answer.json()["phoneNumberIds"]);
    assert_eq!((account, numbers), (&json!("206"), &json!(["106"])), "{}", answer.text);
    let stored = fs::read_to_string(dir.path().join("tokens/acme")).unwrap();
    assert_eq!(answer.json()["token"], fingerprint(stored.trim()).as_str());
    assert_is(&me(&mut Client::connect(sidecar.proxy).await, "acme").await, "acme");
    sidecar.assert_reveals_none_of(&[&code, stored.trim()]).await;
}
