//! The fields of the token status that only some tokens have, the pages of `graphward status`, and the warning of a short token.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use fake_graph::{Expiry, TokenChange, TokenType};
use graphward::types::{Clock, Rfc3339Timestamp};
use serde_json::{Value, json};

use crate::support::place::{Place, text};
use crate::support::{
    Client, Graph, Sidecar, exchange_config, get, graphward_command, network_settings, settings, together, wait_until,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_has_the_renewal_the_end_of_data_access_and_the_missing_permissions() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token = graph.sim.issue(None);
    let seconds = Clock::system().now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = UNIX_EPOCH + Duration::from_secs(seconds);
    let change = TokenChange {
        kind: Some(TokenType::User),
        issued_at: Some(now),
        expires_at: Some(Expiry::At(now + DAY * 60)),
        data_access_expires_at: Some(Expiry::At(now + DAY * 90)),
        scopes: Some(vec!["whatsapp_business_management".to_owned()]),
        ..TokenChange::default()
    };
    assert!(graph.sim.update_token(&token, change));
    fs::write(dir.path().join("token"), &token).unwrap();
    let config = settings(&graph, "file = \"token\"", &exchange_config(dir.path()));
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let status = async || get(sidecar.admin, "/admin/token-status").await.json()["tenants"][0].clone();
    wait_until("Graph was asked", async || status().await["issued_at"].is_string()).await;
    let mut client = Client::connect(sidecar.proxy).await;
    client.text("hello").await;
    let shown = async || {
        let shown = status().await;
        (shown["missing_scopes"].is_array(), shown)
    };
    wait_until("the app has called WhatsApp", async || shown().await.0).await;
    let (_, shown) = shown().await;
    let at = |days: u32| json!(Rfc3339Timestamp(now + DAY * days).to_string());
    assert_eq!(
        shown["missing_scopes"],
        json!(["whatsapp_business_messaging"]),
        "{shown}"
    );
    assert_eq!(shown["scopes"], json!(["whatsapp_business_management"]), "{shown}");
    assert_eq!(shown["data_access_expires_at"], at(90), "{shown}");
    assert_eq!(
        (&shown["expiry"], &shown["expires_at"]),
        (&json!("at"), &at(60)),
        "{shown}"
    );
    // A fifth of its life before its end, or up to a tenth of that earlier. The texts are in the order of their times.
    let (renew_at, text) = (shown["renew_at"].as_str().unwrap(), |days| {
        at(days).as_str().unwrap().to_owned()
    });
    assert!(
        text(46).as_str() <= renew_at && renew_at <= text(48).as_str(),
        "{shown}"
    );
    sidecar.assert_reveals_none_of(&[&token]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_goes_on_after_a_name() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = network_settings(&graph);
    for name in ["acme", "bolt", "shop"] {
        fs::write(dir.path().join(name), graph.sim.issue(None)).unwrap();
        config += &format!("[tenants.{name}]\nsource = {{ file = \"{name}\" }}\n");
    }
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until("it is ready", async || {
        get(sidecar.admin, "/readyz").await.status == 200
    })
    .await;
    let admin = sidecar.admin.to_string();
    for (after, expected) in [("acme", &["bolt", "shop"][..]), ("b", &["bolt", "shop"]), ("shop", &[])] {
        let args = ["status", "--json", "--admin", &admin, "--after", after];
        let output = graphward_command(dir.path(), &args).output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tenants = shown["tenants"].as_array().unwrap().iter();
        let names: Vec<_> = tenants.map(|tenant| tenant["tenant"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{after}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_fewer_than_a_hundred_characters_is_warned_of_and_taken() {
    let _turn = together().await;
    let place = Place::new().await;
    for (length, is_short) in [(40, true), (99, true), (100, false)] {
        let token = "EAAG"
            .chars()
            .chain("aB3".chars().cycle())
            .take(length)
            .collect::<String>();
        let output = place.run(&["token", "set", "--offline"], &format!("{token}\n"));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{length}: {said}");
        let warning = "warning: tokens of Graph are longer; check that it was copied to its end";
        assert_eq!(said.contains(warning), is_short, "{length}: {said}");
        let stored = fs::read_to_string(place.dir.path().join("token")).unwrap();
        assert_eq!(stored.trim_end(), token);
    }
}
