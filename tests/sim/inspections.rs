use std::time::{Duration, SystemTime};

use graphward::sim::{Change, Death, Kind, Until};
use graphward::types::Clock;
use serde_json::{Value, json};

use crate::support::World;

const APP: &str = "1234567890123456|0123456789abcdef0123456789abcdef";

async fn debugged(world: &World, token: &str, asking: &str) -> Value {
    let path = format!("/debug_token?input_token={}", token.replace('|', "%7C"));
    let answer = world.get(&path, asking).await;
    assert_eq!(answer.status, 200);
    answer.json()["data"].clone()
}

fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

#[tokio::test]
async fn each_kind_of_token_is_described_as_such() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let kinds = [
        (Kind::User, "USER"),
        (Kind::Page, "PAGE"),
        (Kind::SystemUser, "SYSTEM_USER"),
    ];
    for (kind, name) in kinds {
        let change = Change {
            kind: Some(kind),
            ..Change::default()
        };
        assert!(world.sim.change(&token, change));
        let data = debugged(&world, &token, APP).await;
        assert_eq!(data["type"], name);
        assert_eq!(data["profile_id"].is_string(), kind == Kind::Page);
        assert_eq!(data["application"], "Fake Graph");
        assert!(data["user_id"].is_string());
    }
    let app = debugged(&world, APP, APP).await;
    assert_eq!((&app["type"], &app["scopes"]), (&json!("APP"), &json!([])));
    assert_eq!(app.get("user_id"), None);
    assert!(!world.sim.change("EAAnobody", Change::default()));
}

#[tokio::test]
async fn ends_scopes_and_targets_are_told_as_they_were_set_and_by_me_permissions_too() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let now = Clock::system().wall();
    let day = Duration::from_secs(24 * 60 * 60);
    let change = Change {
        issued: Some(now - day),
        ends: Some(Until::Then(now + day)),
        data_access: Some(Until::Then(now - day)),
        scopes: Some(vec!["whatsapp_business_messaging".to_owned()]),
        targets: Some(vec!["1".to_owned(), "2".to_owned()]),
        ..Change::default()
    };
    assert!(world.sim.change(&token, change));
    let data = debugged(&world, &token, &token).await;
    assert_eq!(data["issued_at"], unix(now - day));
    assert_eq!(data["expires_at"], unix(now + day));
    assert_eq!(data["data_access_expires_at"], unix(now - day));
    assert_eq!(data["is_valid"], true, "it lives on without the data");
    assert_eq!(data["scopes"], json!(["whatsapp_business_messaging"]));
    assert_eq!(data["granular_scopes"][0]["target_ids"], json!(["1", "2"]));
    let may = world.get("/me/permissions", &token).await.json();
    assert_eq!(
        may["data"],
        json!([{"permission": "whatsapp_business_messaging", "status": "granted"}])
    );
    let past = Change {
        ends: Some(Until::Then(now - day)),
        ..Change::default()
    };
    assert!(world.sim.change(&token, past));
    let data = debugged(&world, &token, APP).await;
    assert_eq!(
        (&data["is_valid"], &data["error"]["subcode"]),
        (&json!(false), &json!(463))
    );
    assert_eq!(
        data["type"], "SYSTEM_USER",
        "a dead token is described as well"
    );
}

#[tokio::test]
async fn an_app_is_told_nothing_of_another_apps_token_but_the_token_is() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let change = Change {
        app: Some("99".to_owned()),
        ..Change::default()
    };
    assert!(world.sim.change(&token, change));
    let data = debugged(&world, &token, APP).await;
    assert_eq!(
        (&data["is_valid"], &data["error"]["code"]),
        (&json!(false), &json!(100))
    );
    assert_eq!(data.get("type"), None);
    let own = debugged(&world, &token, &token).await;
    assert_eq!(
        (&own["is_valid"], &own["app_id"]),
        (&json!(true), &json!("99"))
    );
}

#[tokio::test]
async fn who_asks_needs_a_living_token_or_the_apps() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let path = format!("/debug_token?input_token={token}&access_token=");
    for wrong in [
        "1234567890123456%7Cwrong",
        "42%7C0123456789abcdef0123456789abcdef",
        "EAAnobody",
    ] {
        let answer = world.get(&format!("{path}{wrong}"), "").await;
        assert_eq!(answer.error(), (400, 190, None), "{wrong}");
    }
    world.sim.kill(&token, Death::LoggedOut);
    let answer = world.get(&format!("{path}{token}"), "").await;
    assert_eq!(answer.error(), (400, 190, Some(467)));
    assert_eq!(world.sim.counts().inspections, 4);
    assert_eq!(world.sim.attempts(), 0);
}
