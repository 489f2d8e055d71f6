//! What the operator is told of tenants at rest: withdrawals, tokens that cannot be used, tokens that end.

use std::collections::BTreeSet;

use graphward::types::Secret;
use serde_json::Value;

use super::*;
use crate::support::start_time;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The lines of the log with this field.
fn lines(log: &LogCapture, field: &str, value: &str) -> Vec<Value> {
    let lines = log.lines_containing(&format!("\"{field}\":\"{value}\""));
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn tenants_of(records: &[Value]) -> BTreeSet<&str> {
    records
        .iter()
        .map(|record| record["tenant"].as_str().unwrap())
        .collect()
}

async fn alerts_at_rest(proxy: &TestProxy, cause: &str) -> i64 {
    let series = format!("graphward_token_alerts_total{{tenant=\"other\",cause=\"{cause}\"}}");
    proxy.metric(&series).await
}

#[tokio::test(start_paused = true)]
async fn each_withdrawn_tenant_is_an_audit_record_and_all_together_are_one_alert() {
    let log = LogCapture::at_info();
    let table = table();
    let names: Vec<_> = (0..400).map(|number| format!("t{number:03}")).collect();
    for name in &names {
        table.set(name, NEW_TOKEN, &[]);
    }
    // To ask Graph about a token, a tenant is opened at a random time within the first hour.
    let proxy = builder(&table).with(|config| config.token.verify = false).start().await;
    proxy.graph.accept(NEW_TOKEN);
    // One of them is open.
    assert_sent_with(&proxy, "t000", NEW_TOKEN).await;
    for name in &names[..40] {
        table.remove(name);
    }
    table.announce();
    sleep(Duration::from_secs(4)).await;
    let records = lines(&log, "action", "withdrawn");
    assert_eq!(records.len(), 40);
    assert_eq!(tenants_of(&records), names[..40].iter().map(String::as_str).collect());
    let fingerprint = Secret::new(NEW_TOKEN).unwrap().fingerprint().to_string();
    for record in &records {
        assert_eq!(record["token"], fingerprint.as_str(), "{record}");
        assert!(
            record["source"].as_str().unwrap().starts_with("table, tenant t0"),
            "{record}"
        );
        assert_eq!(record["generation"].is_u64(), record["tenant"] == "t000", "{record}");
    }
    let alerts = lines(&log, "cause", "withdrawn");
    let [alert] = &alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!(alert["message"], "40 tokens were withdrawn by their sources");
    assert_eq!((&alert["level"], &alert["count"]), (&"WARN".into(), &40.into()));
    assert!(alert["tenants"].as_str().unwrap().contains("t0"), "{alert}");
    assert_eq!(alerts_at_rest(&proxy, "withdrawn").await, 40);
    assert_eq!(proxy.metric(r#"graphward_tokens{state="withdrawn"}"#).await, 40);

    // What was told is not told again, and one alone is no digest.
    table.remove("t100");
    table.announce();
    sleep(Duration::from_secs(200)).await;
    let alerts = lines(&log, "cause", "withdrawn");
    assert_eq!((alerts.len(), &alerts[1]["tenant"]), (2, &"t100".into()));
    assert!(!log.text().contains(NEW_TOKEN));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_log_counts_the_tenants_that_are_left_after_each_change() {
    let log = LogCapture::at_info();
    let table = table();
    let proxy = start(&table).await;
    for (change, left) in [
        (None, 2),
        (Some(("later", true)), 3),
        (Some(("shop", false)), 2),
        (Some(("later", false)), 1),
    ] {
        match change {
            Some((name, true)) => table.set(name, NEW_TOKEN, &[]),
            Some((name, false)) => table.remove(name),
            None => {}
        }
        table.announce();
        sleep(Duration::from_secs(5)).await;
        let changes = lines(&log, "message", "the tenants have changed");
        assert_eq!(changes.last().unwrap()["all"], left, "{changes:?}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_loses_its_token_is_told_once_whether_its_tenant_is_open_or_not() {
    let log = LogCapture::at_info();
    let table = table();
    table.set("new", NEW_TOKEN, &[]);
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    for tenant in ["acme", "shop"] {
        table.set_empty(tenant);
    }
    table.announce();
    sleep(Duration::from_secs(10)).await;
    let told = |cause: &str, tenant: &str| {
        let told = lines(&log, "cause", cause);
        assert_eq!((told.len(), tenants_of(&told)), (1, [tenant].into()), "{told:?}");
    };
    told("withdrawn", "acme");
    told("source_token_rejected", "shop");
    // The rows are removed, too.
    for tenant in ["acme", "shop"] {
        table.remove(tenant);
    }
    table.announce();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(get_for(&proxy, "acme").await.code(), 990_026);
    let records = lines(&log, "action", "withdrawn");
    assert_eq!(
        (records.len(), tenants_of(&records)),
        (1, ["shop"].into()),
        "{records:?}"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn tokens_of_tenants_that_nothing_opens_are_warned_of_before_they_end() {
    let log = LogCapture::at_info();
    let table = ScriptedTable::default();
    for number in 0..12 {
        table.set_ending(&format!("t{number:02}"), NEW_TOKEN, start_time() + 3 * DAY + HOUR);
    }
    table.set_ending("later", NEW_TOKEN, start_time() + 60 * DAY);
    let proxy = builder(&table)
        .with(|config| config.token.verify = false)
        .empty()
        .start()
        .await;
    sleep(Duration::from_secs(30)).await;
    let expiries = |messages: &[&str]| {
        let told = lines(&log, "cause", "expiry");
        let told: Vec<_> = told.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(told, messages, "{}", log.text());
    };
    expiries(&["12 tokens expire within 7 days"]);
    assert_eq!(alerts_at_rest(&proxy, "expiry").await, 12);
    assert_eq!(proxy.metric(r#"graphward_tokens{state="ends_7d"}"#).await, 12);
    sleep(HOUR + 2 * Duration::from_secs(60)).await;
    expiries(&["12 tokens expire within 7 days", "12 tokens expire within 3 days"]);

    // Another token, of unknown end: Graph is not asked about it either.
    table.set("t00", ACME_TOKEN, &[]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert!(lines(&log, "cause", "expiry_unknown").is_empty(), "{}", log.text());
    // Nothing was opened for that.
    assert_eq!(table.row_reads(), 0);
    assert_eq!(proxy.metric(r#"graphward_tokens{state="usable"}"#).await, 2);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn rows_whose_token_cannot_be_used_are_one_alert_and_each_is_told_once() {
    let log = LogCapture::at_info();
    let table = table();
    for name in ["bad-1", "bad-2", "bad-3"] {
        table.set_faulty(name, "no configured Fernet key decrypts it");
    }
    let proxy = start(&table).await;
    let told = lines(&log, "cause", "source_token_rejected");
    let [digest] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(digest["message"], "3 new tokens are not used");
    assert!(
        digest["first"]
            .as_str()
            .unwrap()
            .contains("no configured Fernet key decrypts it"),
        "{digest}"
    );
    table.set_faulty("bad-4", "no configured Fernet key decrypts it");
    table.announce();
    sleep(Duration::from_secs(200)).await;
    let told = lines(&log, "cause", "source_token_rejected");
    assert_eq!((told.len(), &told[1]["tenant"]), (2, &"bad-4".into()));
    assert_eq!(alerts_at_rest(&proxy, "source_token_rejected").await, 4);

    // It is good for a while.
    table.set("bad-4", NEW_TOKEN, &[]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    table.set_faulty("bad-4", "no configured Fernet key decrypts it");
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lines(&log, "cause", "source_token_rejected").len(), 3);
    table.set_faults(&["row 7: its name is not valid"]);
    table.announce();
    sleep(Duration::from_secs(200)).await;
    let told = lines(&log, "cause", "source_token_rejected");
    assert_eq!(
        (told.len(), &told[3]["message"]),
        (
            4,
            &"Rows of the tenants are not used (1): row 7: its name is not valid.".into()
        )
    );
    proxy.shutdown().await;
}
