//! How many tenants are open, how soon a table that was gone is read again, and what the log says once.

use super::*;
use crate::support::{ScriptedResponse, chunked_with_delay};

/// A proxy whose table can be asked for single tenants only, of which this many may be open.
async fn start_template(table: &ScriptedTable, max_open: usize) -> TestProxy {
    table.hide_list();
    let text = format!("[tenants_from]\nhttp = \"http://127.0.0.1:9/{{tenant}}\"\nmax_open = {max_open}\n");
    let loaded = load(&text);
    let proxy = builder(table).with(|config| config.tenants_from = loaded.tenants_from);
    let proxy = proxy.start().await;
    proxy.graph.accept(NEW_TOKEN);
    proxy
}

fn load(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    Config::load(flags, &EnvVars::new()).unwrap().config
}

fn many(names: &[&str]) -> ScriptedTable {
    let table = ScriptedTable::default();
    for name in names {
        table.set(name, NEW_TOKEN, &[]);
    }
    table
}

async fn readiness(proxy: &TestProxy) -> serde_json::Value {
    serde_json::from_str(proxy.admin_get("/readyz").await.text()).unwrap()
}

/// The tenants that are open, besides that of the configuration.
async fn open_tenants(proxy: &TestProxy) -> Vec<String> {
    let state = readiness(proxy).await;
    let names = state["tenants"].as_object().unwrap().keys().cloned();
    names.filter(|name| name != "default").collect()
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_the_least_recently_used_tenant_is_closed() {
    let proxy = start_template(&many(&["a", "b", "c", "d"]), 3).await;
    for name in ["a", "b", "c", "a", "d"] {
        assert_sent_with(&proxy, name, NEW_TOKEN).await;
        sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(open_tenants(&proxy).await, ["a", "c", "d"]);
    assert_sent_with(&proxy, "b", NEW_TOKEN).await;
    assert_eq!(open_tenants(&proxy).await, ["a", "b", "d"]);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_a_request_in_flight_is_not_closed_however_many_others_come() {
    let names: Vec<_> = (0..10).map(|number| format!("t{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let proxy = start_template(&many(&names), 2).await;
    proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(20)));
    let slow = get_for(&proxy, "t00");
    let others = async {
        sleep(Duration::from_millis(100)).await;
        for name in &names[1..] {
            assert_sent_with(&proxy, name, NEW_TOKEN).await;
            sleep(Duration::from_millis(1500)).await;
        }
        open_tenants(&proxy).await
    };
    let (slow, open) = tokio::join!(slow, others);
    assert_eq!(slow.status, 200, "{slow:?}");
    assert_eq!(open, ["t00", "t09"]);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_more_tenants_than_may_be_open_serves_each() {
    let names: Vec<_> = (0..40).map(|number| format!("t{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let proxy = start_template(&many(&names), 5).await;
    let responses = join_all(names.iter().map(|name| get_for(&proxy, name))).await;
    assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
    sleep(Duration::from_secs(11)).await;
    assert_eq!(open_tenants(&proxy).await.len(), 5);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_a_listed_table_past_the_limit_is_closed_and_still_served() {
    let table = many(&["a", "b", "c"]);
    let loaded = load("[tenants_from]\nfile = \"/tokens/{tenant}\"\nmax_open = 1\n");
    let proxy = builder(&table).with(|config| config.tenants_from = loaded.tenants_from);
    let proxy = proxy.start().await;
    proxy.graph.accept(NEW_TOKEN);
    for _ in 0..2 {
        for name in ["a", "b", "c"] {
            assert_sent_with(&proxy, name, NEW_TOKEN).await;
        }
        sleep(Duration::from_secs(11)).await;
        let state = readiness(&proxy).await;
        let at_rest = |name: &str| state["tenants"][name]["reason"] == "token available; no request for it lately";
        assert_eq!(
            ["a", "b", "c"].into_iter().filter(|name| at_rest(name)).count(),
            2,
            "{state}"
        );
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_exist_take_no_memory_and_few_lines_of_the_log() {
    let log = LogCapture::at_info();
    let proxy = start_template(&many(&["a"]), 3).await;
    for number in 0..3_000 {
        let refused = get_for(&proxy, &format!("made-up-{number}")).await;
        assert_eq!(refused.code(), 990_025);
    }
    sleep(Duration::from_secs(11)).await;
    assert_eq!(open_tenants(&proxy).await, Vec::<String>::new());
    let lines = log.lines_containing("\"message\":\"request\"");
    let rest = log.lines_containing("more requests for unknown tenants were refused");
    let counts = lines.iter().chain(&rest).map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["not_logged"].as_u64().unwrap_or_default()
    });
    let not_logged = usize::try_from(counts.sum::<u64>()).unwrap();
    // A look-up takes 20 ms here, so they take a minute.
    assert!((5..=400).contains(&lines.len()), "{}", lines.len());
    assert_eq!(lines.len() + not_logged, 3_000);
    let series = r#"graphward_requests_total{tenant="",outcome="refused_unknown_tenant"}"#;
    assert_eq!(proxy.metric(series).await, 3_000);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_refusals_of_a_tenant_that_exists_are_all_logged() {
    let log = LogCapture::at_info();
    let table = table();
    table.set_faulty("bad", "no configured Fernet key decrypts it");
    let proxy = start(&table).await;
    for _ in 0..20 {
        assert_eq!(get_for(&proxy, "bad").await.status, 503);
    }
    assert_eq!(log.lines_containing("\"message\":\"request\"").len(), 20);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_gone_is_read_at_once_when_a_single_row_can_be_read() {
    let table = table();
    let proxy = start(&table).await;
    table.set_failing(true);
    table.announce();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(get_for(&proxy, "later").await.status, 503);
    let reads = table.reads();
    table.set_failing(false);
    table.set("later", NEW_TOKEN, &[]);
    table.set("other", NEW_TOKEN, &["333"]);
    assert_sent_with(&proxy, "later", NEW_TOKEN).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(table.reads(), reads + 1);
    // The table is whole again: the ids of rows that no request has named are known, too.
    proxy.app.fetch(get("/v25.0/333/phone_numbers")).await;
    proxy.graph.last_request().assert_bearer(NEW_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn look_ups_during_a_failure_of_the_table_cause_one_read_a_second_at_most() {
    let table = table();
    let proxy = start(&table).await;
    table.set_list_failing(true);
    table.announce();
    sleep(Duration::from_secs(5)).await;
    let reads = table.reads();
    for number in 0..500 {
        get_for(&proxy, &format!("made-up-{number}")).await;
    }
    // They take ten seconds.
    let caused = table.reads() - reads;
    assert!((2..=11).contains(&caused), "{caused}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_a_section_of_the_configuration_hides_is_told_once() {
    let log = LogCapture::at_info();
    let table = table();
    table.set("default", NEW_TOKEN, &["333"]);
    let proxy = start(&table).await;
    for number in 0..3 {
        table.set(&format!("more-{number}"), NEW_TOKEN, &[]);
        table.announce();
        sleep(Duration::from_secs(3)).await;
    }
    let warnings = log.lines_containing("have a row, too, which is not used");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("\"tenants\":\"default\"") && warnings[0].contains("\"WARN\""));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_directory_speaks_of_its_files() {
    let log = LogCapture::at_info();
    let table = table();
    table.be_directory();
    table.set("default", NEW_TOKEN, &["333"]);
    table.set_faults(&["the name of a file"]);
    let proxy = start(&table).await;
    table.clear();
    table.announce();
    sleep(Duration::from_secs(3)).await;
    let events = proxy
        .admin()
        .fetch(with(get("/admin/events"), &[("host", "localhost")]))
        .await;
    let told = format!("{}{}", log.text(), events.text());
    for words in [
        "look whether the files were deleted or emptied, a key is missing or another directory is mounted there",
        "Of 3 tenants in their directory, 3 are missing",
        "have a file, too, which is not used: remove the file, or the section",
        "iles of the tenants are not used (1)",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("their table") && !told.contains(" row"), "{told}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn past_192_names_that_are_looked_up_at_the_same_time_another_one_is_refused_for_now_and_the_same_ones_wait() {
    let table = table();
    let proxy = start(&table).await;
    table.delay_rows(Duration::from_secs(2));
    let names: Vec<_> = (0..192).map(|number| format!("made-up-{number}")).collect();
    let looked_up = join_all(names.iter().map(|name| get_for(&proxy, name)));
    let others = async {
        sleep(Duration::from_secs(1)).await;
        let same = get_for(&proxy, "made-up-7");
        let (other, same) = tokio::join!(get_for(&proxy, "one-more"), same);
        assert_eq!((other.status, other.code()), (503, 990_003), "{other:?}");
        assert!(other.text().contains("too many names are being looked up"), "{other:?}");
        assert_eq!(same.code(), 990_025, "{same:?}");
    };
    let (looked_up, ()) = tokio::join!(looked_up, others);
    assert!(looked_up.iter().all(|answer| answer.code() == 990_025), "{looked_up:?}");
    assert_eq!(table.row_reads(), 192);
    table.delay_rows(Duration::ZERO);
    assert_eq!(
        get_for(&proxy, "one-more").await.code(),
        990_025,
        "there is place again"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_began_before_its_tenant_was_closed_and_names_it_later_is_healed() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    sleep(Duration::from_secs(10 * 60 - 5)).await;
    // Its body says whose it is when the tenant has been idle for more than ten minutes.
    let body = chunked_with_delay(
        r#"{"to":"15550100200","access_token":"tenant:acme"}"#,
        5,
        Duration::from_secs(3),
    );
    let late = with(
        request("POST", "/v25.0/me/messages", body),
        &[("content-type", "application/json")],
    );
    let renewing = async {
        sleep(Duration::from_secs(28)).await;
        let state = readiness(&proxy).await;
        assert_eq!(
            state["tenants"]["acme"]["reason"], "token available; no request for it lately",
            "{state}"
        );
        proxy.graph.expire_all();
        proxy.graph.accept(NEW_TOKEN);
        table.set("acme", NEW_TOKEN, &["111"]);
    };
    let (late, ()) = tokio::join!(proxy.app.fetch(late), renewing);
    assert_eq!(late.status, 200, "{late:?}");
    proxy.graph.last_request().assert_bearer(NEW_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_opened_again_is_an_event_only_with_another_token() {
    let table = many(&["a"]);
    let proxy = start(&table).await;
    let loads = async || {
        let answer = proxy.admin_get("/admin/events").await;
        let events: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
        let events = events["events"].as_array().unwrap().clone();
        let of_tenant = events.into_iter().filter(|event| event["tenant"] == "a");
        of_tenant.filter(|event| event["kind"] == "loaded").count()
    };
    for round in 0..3 {
        assert_sent_with(&proxy, "a", NEW_TOKEN).await;
        sleep(Duration::from_secs(20 * 60)).await;
        let state = readiness(&proxy).await;
        assert_eq!(
            state["tenants"]["a"]["reason"],
            "token available; no request for it lately"
        );
        assert_eq!(loads().await, 0, "{round}");
    }
    table.set("a", ACME_TOKEN, &[]);
    table.announce();
    sleep(Duration::from_secs(10)).await;
    assert_sent_with(&proxy, "a", ACME_TOKEN).await;
    assert_eq!(loads().await, 1);
    table.set("a", NEW_TOKEN, &[]);
    table.announce();
    sleep(Duration::from_secs(10)).await;
    assert_sent_with(&proxy, "a", NEW_TOKEN).await;
    assert_eq!(loads().await, 2, "while it was open");
    proxy.shutdown().await;
}
