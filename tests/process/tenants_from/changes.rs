//! What changes around a table while requests wait: its rows, the configuration, the cache, and the end of the process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use graphward::net::Tasks;
use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{
    KEY, NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, refusal, table_settings, wait_until_started,
};
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, TestResponse, get, together, wait_until};

/// Longer than a client waits.
const HOLD: &str = "[heal]\nhold_timeout = \"5m\"\n";

/// Waits until this is in the log.
async fn wait_until_logged(sidecar: &Sidecar, text: &str) {
    wait_until(text, async || sidecar.stdout().contains(text)).await;
}

async fn send_me(sidecar: &Sidecar, tenant: &str) -> TestResponse {
    me(&mut Client::connect(sidecar.proxy).await, tenant).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_held_when_their_row_is_deactivated_get_the_rejection_at_once() {
    let _turn = together().await;
    let service = Service::start().await;
    let token = service.insert("acme", "106", "206");
    service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar(HOLD).await;
    assert_is(&send_me(&sidecar, "acme").await, "acme");
    assert!(service.graph.sim.expire(&token));
    let held = join_all((0..8).map(|_| send_me(&sidecar, "acme")));
    let deactivating = async {
        wait_until("Graph has rejected a request", async || {
            service.graph.sim.rejected() > 0
        })
        .await;
        service.set("acme", "is_active = false");
        assert_is(&send_me(&sidecar, "shop").await, "shop");
    };
    let (held, ()) = tokio::join!(held, deactivating);
    for response in held {
        let answer = refusal(&response);
        assert!(matches!(answer, (401, 190) | (403, 990_026)), "{}", response.json());
    }
    assert_eq!(refusal(&send_me(&sidecar, "acme").await), (403, 990_026));

    // It comes back with another token.
    let token = issue(&service.graph, "acme", &["106", "206"]);
    let sealed = super::support::seal(&token);
    service.set("acme", &format!("is_active = true, access_token = '{sealed}'"));
    wait_until("it is back", async || send_me(&sidecar, "acme").await.status == 200).await;
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_are_added_while_many_names_are_looked_up_are_served() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    let (_dir, sidecar) = service.sidecar("").await;
    // More than are looked up at the same time, and half of them are added meanwhile.
    let names: Vec<_> = (0..200).map(|number| format!("tenant-{number}")).collect();
    let tokens: Vec<_> = names.iter().map(|name| issue(&service.graph, name, &[])).collect();
    let added: Vec<_> = (0..100).map(|number| number * 2).collect();
    let asking = join_all(names.iter().map(|name| send_me(&sidecar, name)));
    let adding = async {
        for number in &added {
            let (name, phone) = (&names[*number], format!("{}", 5_000 + number));
            let insertion = insertion(name, &phone, &format!("{}", 6_000 + number), &tokens[*number]);
            tokio::task::block_in_place(|| service.database.psql(&insertion));
        }
    };
    let (answers, ()) = tokio::join!(asking, adding);
    for (name, answer) in names.iter().zip(answers) {
        match refusal(&answer) {
            (200, 0) => assert_is(&answer, name),
            (404, 990_025) => {}
            // Too many at the same time.
            (503, 990_003) => assert_eq!(answer.json()["error"]["is_transient"], true),
            other => panic!("{name}: {other:?} {}", answer.json()),
        }
    }
    let mut client = Client::connect(sidecar.proxy).await;
    for (number, name) in names.iter().enumerate() {
        let expected = if added.contains(&number) { 200 } else { 404 };
        wait_until("the rows are known", async || {
            me(&mut client, name).await.status == expected
        })
        .await;
    }
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_query_and_a_section_that_is_gone_need_a_restart_and_the_tenants_stay() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    let (dir, sidecar) = service.sidecar("").await;
    let file = dir.path().join("graphward.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[tenants_from]").unwrap();
    let without = format!("{before}[token]\nsource = {{ env = \"TOKEN\" }}\n");
    for changed in [text.replace("WHERE is_active", "WHERE false"), without] {
        let reloads = sidecar.stdout().matches("reloaded the configuration").count();
        fs::write(&file, changed).unwrap();
        sidecar.signal(Signal::HUP);
        wait_until("it is reloaded", async || {
            sidecar.stdout().matches("reloaded the configuration").count() > reloads
        })
        .await;
        let events = sidecar.log_events();
        let advice = events.iter().rfind(|event| event["keys"].is_string());
        let keys = advice.unwrap()["keys"].as_str().unwrap();
        assert!(keys.contains("tenants_from"), "{keys}");
        // A change of the row is used, as before.
        let name = format!("acme-{reloads}");
        let sealed = super::support::seal(&issue(&service.graph, &name, &["106", "206"]));
        service.set("acme", &format!("access_token = '{sealed}'"));
        wait_until("the row is read", async || {
            send_me(&sidecar, "acme").await.json()["name"] == *name
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_of_another_query_or_with_another_key_is_reported_and_not_used() {
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let token = issue(&graph, "acme", &["106", "206"]);
    let row = insertion("acme", "106", "206", &token);
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{row}"));
    fs::write(dir.path().join("cache-key"), KEY).unwrap();
    let start = async |dir: &Path, change: &dyn Fn(String) -> String| {
        let table = table_settings(dir, &server.url_of("postgres", "postgres"));
        let cache = "cache = { file = \"tenants-cache\", fernet_key = { file = \"cache-key\" } }\n";
        Sidecar::start(dir, &config(&graph, dir, &change(format!("{table}{cache}")))).await
    };
    let sidecar = start(dir.path(), &|text| text).await;
    wait_until("the tenants are cached", async || {
        dir.path().join("tenants-cache").exists()
    })
    .await;
    assert_is(&send_me(&sidecar, "acme").await, "acme");
    drop(sidecar);
    tokio::task::block_in_place(|| server.stop());

    let other_query = |text: String| text.replace("WHERE is_active", "WHERE is_active AND expires_at IS NULL");
    let sidecar = start(dir.path(), &other_query).await;
    wait_until_logged(&sidecar, "it was written for another place or query").await;
    wait_until_logged(&sidecar, "cannot read the tenants, and none is known yet").await;
    assert_eq!(get(sidecar.admin, "/startupz").await.status, 503);
    assert_eq!(refusal(&send_me(&sidecar, "acme").await), (503, 990_003));
    drop(sidecar);

    fs::write(dir.path().join("cache-key"), KEY.replace('x', "y")).unwrap();
    let sidecar = start(dir.path(), &|text| text).await;
    wait_until_logged(&sidecar, "are left out").await;
    assert_eq!(get(sidecar.admin, "/startupz").await.status, 503);
    sidecar.assert_reveals_none_of(&[&token, KEY]).await;
    tokio::task::block_in_place(|| server.start());
    wait_until_started(&sidecar).await;
    assert_is(&send_me(&sidecar, "acme").await, "acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_names_are_looked_up_answers_those_who_wait() {
    let _turn = together().await;
    for signal in [Signal::INT, Signal::TERM] {
        let service = Service::start().await;
        service.insert("acme", "106", "206");
        let (_dir, mut sidecar) = service.sidecar("").await;
        assert_is(&send_me(&sidecar, "acme").await, "acme");
        // No row can be read.
        let (holder, connection) = tokio_postgres::connect(&service.database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        let driver = Tasks::default().spawn(connection);
        let lock = "BEGIN; LOCK TABLE tenant_whatsapp_config IN ACCESS EXCLUSIVE MODE";
        holder.batch_execute(lock).await.unwrap();
        let proxy = sidecar.proxy;
        let asking = join_all((0..10).map(async |number| {
            let mut client = Client::connect(proxy).await;
            me(&mut client, &format!("unknown-{number}")).await
        }));
        let stopping = async {
            wait_until("a row is being read", async || {
                let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
                service.database.psql(waiting) != "0"
            })
            .await;
            sleep(Duration::from_millis(100)).await;
            sidecar.signal(signal);
        };
        let (answers, ()) = tokio::join!(asking, stopping);
        for answer in answers {
            assert_eq!(refusal(&answer), (503, 990_003), "{}", answer.json());
        }
        assert!(sidecar.wait_exit().await.success());
        driver.abort();
    }
}
