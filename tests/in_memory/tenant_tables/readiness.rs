//! When a process with a table of tenants is ready.

use graphward::admin::ReadinessPolicy;

use super::operator::operate;
use super::*;

/// A proxy whose only tokens are those of the table.
async fn start_empty(table: &ScriptedTable, policy: ReadinessPolicy) -> TestProxy {
    let builder = builder(table).with(|config| config.ready.tokens = policy);
    let proxy = builder.empty().start().await;
    proxy.graph.accept(ACME_TOKEN);
    proxy
}

async fn assert_readiness(proxy: &TestProxy, status: u16) {
    let ready = proxy.admin_get("/readyz").await;
    assert_eq!(ready.status, status, "{}", ready.text());
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_tenants_are_all_withdrawn_or_unusable_is_not_ready_unless_tokens_are_ignored() {
    for (policy, status) in [
        (ReadinessPolicy::Any, 503),
        (ReadinessPolicy::All, 503),
        (ReadinessPolicy::Ignore, 200),
    ] {
        let table = table();
        let proxy = start_empty(&table, policy).await;
        table.remove("acme");
        table.set_faulty("shop", "no configured Fernet key decrypts it");
        // Otherwise, the loss of all is not believed for a while.
        assert_eq!(operate(&proxy, "POST", "/admin/refresh-token").await.status, 200);
        sleep(Duration::from_secs(4)).await;
        assert_readiness(&proxy, status).await;
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_needs_one_usable_token_and_all_needs_that_of_each_tenant_that_is_not_withdrawn() {
    let table = table();
    table.set_faulty("bad", "no configured Fernet key decrypts it");
    let any = start_empty(&table, ReadinessPolicy::Any).await;
    let all = start_empty(&table, ReadinessPolicy::All).await;
    assert_readiness(&any, 200).await;
    assert_readiness(&all, 503).await;
    any.shutdown().await;
    all.shutdown().await;

    let table = self::table();
    // Here, the tenant without a name has a token, too.
    let all = builder(&table).with(|config| config.ready.tokens = ReadinessPolicy::All);
    let all = all.start().await;
    assert_readiness(&all, 200).await;
    table.set("new", NEW_TOKEN, &[]);
    table.remove("acme");
    table.announce();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(all.metric(r#"graphward_tokens{state="withdrawn"}"#).await, 1);
    assert_readiness(&all, 200).await;
    table.set_faulty("new", "no configured Fernet key decrypts it");
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_readiness(&all, 503).await;
    assert_eq!(all.metric(r#"graphward_tokens{state="undecryptable"}"#).await, 1);
    all.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_list_its_tenants_may_have_others_than_the_bad_ones_that_are_open() {
    let table = ScriptedTable::default();
    table.hide_list();
    table.set_faulty("bad", "it has no token");
    let proxy = start_empty(&table, ReadinessPolicy::Any).await;
    assert_eq!(get_for(&proxy, "bad").await.status, 503);
    assert_readiness(&proxy, 200).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_error_of_reading_the_table_is_shown_with_the_time_of_the_first() {
    let table = table();
    let proxy = start(&table).await;
    let place = async |path: &str| {
        let state = proxy.admin_get(path).await;
        let state: serde_json::Value = serde_json::from_str(state.text()).unwrap();
        state["tenants_from"].clone()
    };
    assert!(place("/readyz").await.is_null());
    table.set_failing(true);
    table.announce();
    sleep(Duration::from_secs(300)).await;
    assert!(table.reads() > 4, "it failed several times");
    for path in ["/readyz", "/admin/token-status"] {
        let failure = place(path).await;
        assert_eq!(failure["error"], "the table is unreachable");
        assert_eq!(failure["since"], "2025-10-01T00:00:00Z", "{failure}");
    }
    table.set_failing(false);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert!(place("/readyz").await.is_null());
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn of_many_tenants_those_without_a_token_are_listed_before_the_withdrawn_ones() {
    let table = table();
    let names: Vec<_> = (100..400).map(|number| format!("t{number}")).collect();
    names.iter().for_each(|name| table.set(name, NEW_TOKEN, &[]));
    table.set_faulty("zz-dead", "no configured Fernet key decrypts it");
    let proxy = start(&table).await;
    names[..25].iter().for_each(|name| table.remove(name));
    table.announce();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(proxy.metric(r#"graphward_tokens{state="withdrawn"}"#).await, 25);
    let ready = proxy.admin_get("/readyz").await;
    let ready: serde_json::Value = serde_json::from_str(ready.text()).unwrap();
    let listed = ready["tenants"].as_object().unwrap();
    assert_eq!(listed.len(), 20);
    assert!(listed.contains_key("zz-dead"), "{listed:?}");
    let withdrawn = listed["t100"]["reason"].as_str().unwrap();
    assert!(withdrawn.contains("add it there again"), "{withdrawn}");
    let status = proxy.admin_get("/admin/token-status?tenant=t100").await;
    let status: serde_json::Value = serde_json::from_str(status.text()).unwrap();
    let advice = &status["tenants"][0]["advice"];
    assert!(
        advice
            .as_str()
            .is_some_and(|advice| advice.starts_with("Add the tenant")),
        "{advice}"
    );
    proxy.shutdown().await;
}
