//! Renewals by graphward: the app does not notice them, and a kill at any moment loses no token.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_graph::{Effect, EndpointKind, Fault};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, TIMEOUT, exchange_config, exclusive, fact, fingerprint, graphward_command,
    replace_file, settings, together, wait_until,
};

/// A user that owns the app's files.
const APP_USER: u32 = 12_345;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_does_not_notice_that_its_tokens_live_for_five_seconds() {
    let _turn = together().await;
    let ttl = Duration::from_secs(5);
    let graph = Graph::with_token_ttl(ttl).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let first = graph.issue_nearly_expired();
    fs::write(&file, &first).unwrap();
    let mode = file_mode(&file);
    let settings = settings(&graph, "file = \"token\"", &exchange_config(dir.path()));
    let sidecar = Sidecar::start(dir.path(), &settings).await;

    let mut client = Client::connect(sidecar.proxy).await;
    let (started, mut sent) = (Instant::now(), Vec::new());
    while graph.sim.counts().exchanges < 5 {
        assert!(started.elapsed() < TIMEOUT, "{:?}", graph.sim.counts());
        let text = format!("message {}", sent.len());
        assert_eq!(client.text(&text).await.status, 200);
        sent.push(text);
        sleep(Duration::from_millis(20)).await;
    }
    let (counts, took) = (graph.sim.counts(), started.elapsed());
    fact(&format!(
        "{} messages in {took:?} of tokens of 5 s: {} renewals, {} rejections",
        sent.len(),
        counts.exchanges,
        counts.rejected
    ));
    assert_eq!(counts.rejected, 0, "each was renewed before Graph rejected it");
    // They are due after half of their lifetime, less jitter and two roundings of Graph to whole seconds.
    let most = 1 + took.as_millis() / 1_000;
    assert!(u128::from(counts.exchanges) <= most, "{counts:?}");
    graph.assert_accepted_once(sent);

    wait_until("the stored token is in use", async || {
        let stored = fs::read_to_string(&file).unwrap();
        client.text("which one?").await.status == 200 && graph.last_fingerprint() == Some(fingerprint(stored.trim()))
    })
    .await;
    assert_eq!(file_mode(&file), mode);
    let series = r#"graphward_token_refreshes_total{tenant="default",outcome="renewed"}"#;
    wait_until("the renewals are counted", async || sidecar.metric(series).await >= 4).await;
    let stored = fs::read_to_string(&file).unwrap();
    let secrets = [first.as_str(), stored.trim(), APP_SECRET];
    sidecar.assert_reveals_none_of(&secrets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_at_random_moments_leave_a_usable_token() {
    let _turn = exclusive().await;
    let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let extra = exchange_config(dir.path()) + "[state]\ndir = \"state\"\n";
    let settings = settings(&graph, "file = \"token\"", &extra);
    let mut stored = graph.sim.issue(None);
    replace_file(&file, format!("{stored}\n"));
    let (mut renewals, started) = (0, Instant::now());
    // The window follows the speed of the machine, so that about half of the kills come after the token is stored.
    let mut window = Duration::from_millis(25);
    for round in 0..200_u64 {
        // Each start finds a token that is due: graphward inspects it, exchanges it, and stores and uses the new one.
        graph.set_nearly_expired(&stored);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        sleep(window.mul_f64((round * 7_919 % 25_000) as f64 / 25_000.0)).await;
        sidecar.signal(Signal::KILL);
        drop(sidecar);
        let text = fs::read_to_string(&file).unwrap();
        let found = text.trim().to_owned();
        assert!(graph.sim.is_alive(&found), "round {round}: no valid token is stored");
        window = if found == stored {
            window * 11 / 10
        } else {
            window * 9 / 10
        };
        if found != stored {
            renewals += 1;
            let kept = fs::read_dir(dir.path().join("state")).unwrap();
            let json = kept
                .map(|file| file.unwrap().path())
                .find(|path| path.extension() == Some("json".as_ref()));
            let text = fs::read_to_string(json.unwrap()).unwrap();
            assert!(text.contains(&stored), "round {round}: the previous one is kept");
            assert_eq!(file_mode(&file), 0o600);
        }
        stored = found;
    }
    fact(&format!(
        "200 kills, {renewals} of them after the renewed token was stored, {} exchanges, {:?} in all",
        graph.sim.counts().exchanges,
        started.elapsed()
    ));
    assert!(
        (10..190).contains(&renewals),
        "{renewals} of 200 had renewed: the kills came too early or too late"
    );
    let file_count = fs::read_dir(dir.path()).unwrap().count();
    assert!(file_count <= 12, "{file_count} files are left");
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("and it still works").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_a_renewal_but_not_for_long() {
    let _turn = together().await;
    for stored in [true, false] {
        let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
        let dir = tempfile::tempdir().unwrap();
        let first = graph.sim.issue(None);
        fs::write(dir.path().join("token"), &first).unwrap();
        graph.set_nearly_expired(&first);
        graph
            .sim
            .inject_fault_on(EndpointKind::Exchange, Fault::once(Effect::Hold));
        let settings = settings(&graph, "file = \"token\"", &exchange_config(dir.path()));
        let mut sidecar = Sidecar::start(dir.path(), &settings).await;
        wait_until("it renews", async || graph.sim.counts().exchanges == 1).await;
        sidecar.signal(Signal::TERM);
        if stored {
            wait_until("it is stopping", async || {
                TcpStream::connect(sidecar.proxy).await.is_err()
            })
            .await;
            graph.sim.release_held(1);
        }
        assert!(sidecar.wait_exit().await.success());
        let found = fs::read_to_string(dir.path().join("token")).unwrap();
        assert_eq!(found.trim() != first, stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_env_file_stays_the_apps_when_its_token_is_renewed() {
    let _turn = together().await;
    let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    fs::create_dir(&app).unwrap();
    let file = app.join(".env");
    let first = graph.issue_nearly_expired();
    fs::write(
        &file,
        format!("DATABASE_PASSWORD=hunter2\nexport TOKEN='{first}' # mine\n"),
    )
    .unwrap();
    // Only root may change the owner; for other users the file stays their own.
    drop(chown(&file, Some(APP_USER), Some(APP_USER)));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&file).unwrap();
    let extra = exchange_config(dir.path()) + "[state]\ndir = \"state\"\n";
    let config = settings(&graph, "file = \"app/.env\", key = \"TOKEN\"", &extra);
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until("the token is renewed", async || {
        !fs::read_to_string(&file).unwrap().contains(&first)
    })
    .await;
    let text = fs::read_to_string(&file).unwrap();
    let renewed = text.strip_prefix("DATABASE_PASSWORD=hunter2\nexport TOKEN='").unwrap();
    let renewed = renewed.strip_suffix("' # mine\n").unwrap();
    assert!(graph.sim.is_alive(renewed));
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode()),
        (before.uid(), before.gid(), before.mode())
    );
    let names = |path: &Path| {
        fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let secret = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("hunter2");
    assert_eq!(names(&app).iter().filter(|path| secret(path)).count(), 1);
    let kept = names(&dir.path().join("state"));
    assert!(fs::read_to_string(&kept[0]).unwrap().contains(&first));
    assert!(!kept.iter().any(secret));

    // A rollback works from there.
    drop(sidecar);
    let output = graphward_command(dir.path(), &["token", "rollback"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text.replace(renewed, &first), fs::read_to_string(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_refused_if_a_renewal_would_take_the_file_from_the_app() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, graph.sim.issue(None)).unwrap();
    // Another user's file in graphward's own directory: only root can make that, and only root may start as another user.
    let is_root = rustix::process::geteuid().is_root();
    let config = |extra: &str| {
        let text = settings(&graph, "file = \"token\"", extra);
        fs::write(dir.path().join("graphward.toml"), text).unwrap();
    };
    let start = || {
        let mut command = graphward_command(dir.path(), &["serve"]);
        if is_root {
            command.uid(APP_USER).gid(APP_USER);
        }
        command
    };
    let exchange = exchange_config(dir.path());
    if is_root {
        for path in [dir.path().to_owned(), dir.path().join("secret")] {
            chown(path, Some(APP_USER), Some(APP_USER)).unwrap();
        }
    }
    config(&exchange);
    if is_root {
        let output = start().output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        for words in ["owner", "token.store", &file.display().to_string()] {
            assert!(stderr.contains(words), "{words}: {stderr}");
        }
    }
    let store = format!("store = {{ file = \"renewed\" }}\n{exchange}");
    let extra = if is_root { &store } else { &exchange };
    let sidecar = Sidecar::start_with(dir.path(), &settings(&graph, "file = \"token\"", extra), &mut start()).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("hello").await.status, 200);
}

fn file_mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
