//! One process and the table.

use graphward::source::Fernet;
use graphward::types::Secret;
use http::Request;

use super::support::{Service, assert_is, insertion, issue, me, refusal, seal};
use crate::support::{Body, Client, Sidecar, fingerprint, sample, together, wait_until};

/// Statements that the trigger does not announce.
const UNANNOUNCED: &str = "SET session_replication_role = replica;";

async fn get(client: &mut Client, path: &str) -> crate::support::TestResponse {
    client.get(path).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sign_of_a_request_leads_to_the_token_of_its_row() {
    let _turn = together().await;
    let service = Service::start().await;
    let acme = service.insert("acme", "106", "206");
    let shop = service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    for (tenant, phone, account) in [("acme", "106", "206"), ("shop", "107", "207")] {
        assert_is(&me(&mut client, tenant).await, tenant);
        let slot = Request::get("/v26.0/me?fields=id,name").header("authorization", format!("Bearer tenant:{tenant}"));
        assert_is(&client.send(slot.body(Body::default()).unwrap()).await, tenant);
        let slot = format!("/v26.0/me?fields=id,name&access_token=tenant:{tenant}");
        assert_is(&get(&mut client, &slot).await, tenant);
        assert_is(
            &get(&mut client, &format!("/-/{tenant}/v26.0/me?fields=id,name")).await,
            tenant,
        );
        for id in [phone, account] {
            let response = get(&mut client, &format!("/v26.0/{id}?fields=id")).await;
            assert_eq!((response.status, response.json()["id"].as_str()), (200, Some(id)));
        }
    }
    assert_eq!(refusal(&get(&mut client, "/v26.0/me").await).0, 400, "no sign");
    let mixed = Request::get("/v26.0/107?fields=id").header("x-tenant-id", "acme");
    let mixed = client.send(mixed.body(Body::default()).unwrap()).await;
    assert_eq!(refusal(&mixed), (403, 990_027));
    for used in service.graph.sim.object_uses() {
        let own = if used.token == "acme" {
            ["106", "206"]
        } else {
            ["107", "207"]
        };
        assert!(own.contains(&used.object.as_str()), "{used:?}");
    }
    assert_eq!(service.graph.sim.violations(), []);
    sidecar.assert_reveals_none_of(&[&acme, &shop]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_row_is_found_by_the_first_request_and_by_its_notification() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;

    let token = issue(&service.graph, "quiet", &["108"]);
    let insert = insertion("quiet", "108", "208", &token);
    service.database.psql(&format!("{UNANNOUNCED}{insert}"));
    assert_eq!(
        get(&mut client, "/v26.0/108?fields=id").await.status,
        400,
        "an id is not looked up"
    );
    assert_is(&me(&mut client, "quiet").await, "quiet");
    assert_eq!(
        get(&mut client, "/v26.0/108?fields=id").await.status,
        200,
        "its row brought its ids"
    );

    service.insert("loud", "109", "209");
    wait_until("the notification brings the id", async || {
        get(&mut client, "/v26.0/109?fields=id").await.status == 200
    })
    .await;
    assert_is(&me(&mut client, "loud").await, "loud");
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivated_row_withdraws_its_tenant_and_comes_back() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    service.set("acme", "is_active = false");
    wait_until("it is withdrawn", async || {
        let response = me(&mut client, "acme").await;
        assert!(
            matches!(refusal(&response), (200, 0) | (403, 990_026)),
            "{}",
            response.json()
        );
        assert_is(&me(&mut client, "shop").await, "shop");
        response.status == 403
    })
    .await;
    assert_eq!(refusal(&get(&mut client, "/v26.0/106?fields=id").await), (403, 990_026));
    service.set("acme", "is_active = true");
    wait_until("it is back", async || me(&mut client, "acme").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupted_token_is_the_trouble_of_its_tenant_alone() {
    let _turn = together().await;
    let service = Service::start().await;
    let sealed = seal(&service.insert("acme", "106", "206"));
    service.insert("shop", "107", "207");
    let corrupted = format!(
        "access_token = '{}'",
        sealed.replace(|letter: char| letter.is_ascii_digit(), "x")
    );
    service.set("acme", &corrupted);
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    let response = me(&mut client, "acme").await;
    assert_eq!(refusal(&response), (503, 990_003), "{}", response.json());
    assert_eq!(response.json()["error"]["is_transient"], false);
    assert_is(&me(&mut client, "shop").await, "shop");
    assert_eq!(token_counts(&sidecar).await, [1, 1, 0]);
    service.set("acme", &format!("access_token = '{sealed}'"));
    wait_until("it is used", async || me(&mut client, "acme").await.status == 200).await;
    assert_eq!(token_counts(&sidecar).await, [0, 2, 0]);

    // The token in memory is good, so a row that is corrupted later ends nothing.
    let reports = || {
        let events = sidecar.log_events();
        let is_report =
            |event: &&serde_json::Value| event["cause"] == "source_token_rejected" && event["tenant"] == "acme";
        events.iter().filter(is_report).count()
    };
    let before = reports();
    assert!(before >= 1, "the first one was reported");
    service.set("acme", &corrupted);
    wait_until("it is reported", async || reports() > before).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_is(&me(&mut client, "shop").await, "shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_no_key_decrypts_are_counted_before_and_after_their_tenants_are_used() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    for (tenant, phone, account) in [("acme", "106", "206"), ("other", "108", "208")] {
        service.insert(tenant, phone, account);
        let other_key = Fernet::new(vec![Fernet::generate().unwrap()]).unwrap();
        let sealed = other_key.encrypt(&Secret::new("EAAGsealed0elsewhere").unwrap());
        service.set(tenant, &format!("access_token = '{sealed}'"));
    }
    let (_dir, sidecar) = service.sidecar("").await;
    assert_eq!(token_counts(&sidecar).await, [2, 1, 0], "no request was sent");
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(refusal(&me(&mut client, "acme").await), (503, 990_003));
    assert_eq!(token_counts(&sidecar).await, [2, 1, 0]);
}

/// The numbers of tokens that no key decrypts, that are usable, and that are dead.
async fn token_counts(sidecar: &Sidecar) -> [u64; 3] {
    let metrics = sidecar.metrics().await;
    ["undecryptable", "usable", "dead"].map(|state| sample(&metrics, &format!("graphward_tokens{{state=\"{state}\"}}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_token_is_used_by_the_next_request() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = service.insert("acme", "106540352242922", "206");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    service.graph.assert_last_token(&old);

    // Without a word from the database, Graph's rejection causes one look.
    let new = issue(&service.graph, "acme", &["106540352242922", "206"]);
    service.database.psql(&format!(
        "{UNANNOUNCED}UPDATE tenant_whatsapp_config SET access_token = '{}'",
        seal(&new)
    ));
    assert!(service.graph.sim.expire(&old));
    assert_eq!(client.text("second").await.status, 200);
    service.graph.assert_last_token(&new);

    // Announced, it needs no rejection.
    let rejected = service.graph.sim.rejected();
    let newest = issue(&service.graph, "acme", &["106540352242922", "206"]);
    service.set("acme", &format!("access_token = '{}'", seal(&newest)));
    wait_until("the newest is used", async || {
        assert_eq!(client.text("third").await.status, 200);
        service.graph.last_fingerprint() == Some(fingerprint(&newest))
    })
    .await;
    assert_eq!(service.graph.sim.rejected(), rejected);
    sidecar.assert_reveals_none_of(&[&old, &new, &newest]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_two_tenants_and_a_row_without_a_name_are_reported() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    service.insert("twin", "106", "210");
    // The demonstration row of the service: one id twice.
    service.insert("demo", "300", "300");
    let nameless = issue(&service.graph, "nameless", &["111"]);
    let insert = insertion("", "111", "211", &nameless).replace("''", "NULL");
    service.database.psql(&insert);
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("a second read finds the same", async || {
        let shared = get(&mut client, "/v26.0/106?fields=id").await;
        assert!(
            matches!(refusal(&shared), (503, 990_003) | (400, 990_024)),
            "{}",
            shared.json()
        );
        shared.status == 400
    })
    .await;
    assert_eq!(get(&mut client, "/v26.0/111?fields=id").await.status, 400);
    assert_eq!(get(&mut client, "/v26.0/300?fields=id").await.status, 200);
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_is(&me(&mut client, "twin").await, "twin");
    let output = sidecar.stdout();
    assert!(
        output.contains("two tenants have the same id") && output.contains("\"ids\":\"106 of "),
        "{output}"
    );
    assert!(output.contains("Rows of the tenants are not used (1): "), "{output}");
    assert_eq!(service.graph.sim.violations(), []);
    sidecar.assert_reveals_none_of(&[&nameless]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_table_ends_no_tenant() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    service.database.psql("TRUNCATE tenant_whatsapp_config");
    wait_until("the loss is reported", async || {
        sidecar
            .stdout()
            .contains("many tenants, tokens or ids are missing at once")
    })
    .await;
    // One of them was never used before.
    for tenant in ["acme", "shop"] {
        assert_is(&me(&mut client, tenant).await, tenant);
    }
    assert_eq!(get(&mut client, "/v26.0/107?fields=id").await.status, 200);
    // A rejection of a token looks for its row, which is gone: that is no withdrawal either.
    service.insert("new", "112", "212");
    wait_until("a row is added meanwhile", async || {
        me(&mut client, "new").await.status == 200
    })
    .await;
    assert_is(&me(&mut client, "acme").await, "acme");
}
