//! Reads in which many tenants have lost their tokens or ids at once.

use std::time::SystemTime;

use super::operator::operate;
use super::*;

/// A way for a tenant to lose something.
type Lose = fn(&ScriptedTable, &str);

const TENANTS: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);

fn names() -> Vec<String> {
    (10..10 + TENANTS).map(|number| format!("t{number}")).collect()
}

fn token_of(name: &str) -> String {
    format!("EAAtoken0of0{name}0in0the0tests")
}

fn id_of(name: &str) -> String {
    name.replace('t', "5")
}

/// Each of many tenants has a token and an id of its own.
async fn start_many(table: &ScriptedTable) -> TestProxy {
    for name in names() {
        table.set(&name, &token_of(&name), &[&id_of(&name)]);
    }
    let proxy = builder(table).start().await;
    names().iter().for_each(|name| proxy.graph.accept(&token_of(name)));
    proxy
}

async fn assert_all_served(proxy: &TestProxy) {
    for name in names() {
        assert_sent_with(proxy, &name, &token_of(&name)).await;
        let by_id = proxy.app.get(&format!("/v25.0/{}/messages", id_of(&name))).await;
        assert_eq!(by_id.status, 200, "{by_id:?}");
        proxy.graph.last_request().assert_bearer(&token_of(&name));
    }
}

const WAYS: [(&str, Lose); 5] = [
    (
        "0 are missing, 20 have lost their tokens and 0 have lost ids",
        |table, name| {
            table.set_empty(name);
        },
    ),
    (
        "0 are missing, 20 have lost their tokens and 20 have lost ids",
        |table, name| {
            table.set_faulty(name, "no configured Fernet key decrypts it");
        },
    ),
    (
        "0 are missing, 0 have lost their tokens and 20 have lost ids",
        |table, name| {
            table.set(name, &token_of(name), &[]);
        },
    ),
    (
        "0 are missing, 19 have lost their tokens and 0 have lost ids",
        |table, name| {
            table.set(name, NEW_TOKEN, &[&id_of(name)]);
        },
    ),
    (
        "0 are missing, 20 have lost their tokens and 20 have lost ids",
        |table, name| {
            table.set_ending(name, &token_of(name), SystemTime::UNIX_EPOCH + MINUTE);
        },
    ),
];

#[tokio::test(start_paused = true)]
async fn what_all_tenants_lose_at_once_stays_in_use_for_five_minutes() {
    for (told, lose) in WAYS {
        let (log, table) = (LogCapture::at_info(), ScriptedTable::default());
        let proxy = start_many(&table).await;
        names().iter().for_each(|name| lose(&table, name));
        table.announce();
        sleep(MINUTE).await;
        let reads = table.reads();
        sleep(MINUTE).await;
        let again = table.reads() - reads;
        assert!((6..10).contains(&again), "it is read every ten seconds: {again} times");
        sleep(2 * MINUTE + MINUTE / 2).await;
        assert_all_served(&proxy).await;
        let reported = log.lines_containing("tokens or ids are missing at once");
        let [line] = &reported[..] else {
            panic!("{told}: {reported:?}");
        };
        assert!(line.contains("\"ERROR\""), "{line}");
        let alerts = operate(&proxy, "GET", "/admin/events").await;
        let told = format!("Of 20 tenants in their table, {told} at once; what they had stays in use for 5 minutes.");
        assert_eq!(alerts.text().matches(&told).count(), 1, "{told}: {}", alerts.text());
        assert_eq!(alerts.text().matches("tenants_missing").count(), 1);

        table.set("later", SHOP_TOKEN, &["222"]);
        proxy.graph.accept(SHOP_TOKEN);
        sleep(MINUTE).await;
        let by_id = proxy.app.get("/v25.0/222/messages").await;
        assert_eq!(by_id.status, 200, "the read is used: {by_id:?}");
        proxy.graph.last_request().assert_bearer(SHOP_TOKEN);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_tenants_may_lose_their_tokens_and_more_may_not() {
    for (lost, is_used) in [(4, true), (5, false)] {
        let table = ScriptedTable::default();
        let proxy = start_many(&table).await;
        names().iter().take(lost).for_each(|name| table.set_empty(name));
        table.announce();
        sleep(MINUTE).await;
        let state = proxy.admin_get("/readyz").await;
        let state: serde_json::Value = serde_json::from_str(state.text()).unwrap();
        let usable = if is_used { TENANTS - lost } else { TENANTS };
        // One more is the default tenant.
        assert_eq!(state["tokens"]["usable"], usable + 1, "{lost}: {state}");
        let refused = get_for(&proxy, "t10").await;
        let answer = if is_used { (403, 990_023) } else { (200, 0) };
        assert_eq!(
            (refused.status, if is_used { refused.code() } else { 0 }),
            answer,
            "{refused:?}"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_lets_a_loss_of_all_tokens_count_at_once() {
    let table = ScriptedTable::default();
    let proxy = start_many(&table).await;
    names().iter().for_each(|name| table.set_empty(name));
    table.announce();
    sleep(MINUTE).await;
    assert_all_served(&proxy).await;
    let answer = operate(&proxy, "POST", "/admin/refresh-token").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Those that are open repeat that they have no token.
    sleep(MINUTE).await;
    for name in names() {
        let refused = get_for(&proxy, &name).await;
        assert_eq!((refused.status, refused.code()), (403, 990_023), "{refused:?}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn rows_whose_tokens_come_back_end_the_loss() {
    let table = ScriptedTable::default();
    let proxy = start_many(&table).await;
    names().iter().for_each(|name| table.set_empty(name));
    table.announce();
    sleep(4 * MINUTE).await;
    for name in names() {
        table.set(&name, &token_of(&name), &[&id_of(&name)]);
    }
    sleep(MINUTE).await;
    // The five minutes begin anew.
    names().iter().for_each(|name| table.set_empty(name));
    table.announce();
    sleep(4 * MINUTE).await;
    assert_all_served(&proxy).await;
    proxy.shutdown().await;
}
