//! Token files, as people and tools write them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::support::{
    Client, Graph, Sidecar, TIMEOUT, Unseen, exclusive, fact, fingerprint, replace_file, retarget_symlink, settings,
    together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_renamed_into_place_is_in_use_without_a_poll() {
    measure_pickup("renamed", "", "token", |path, token, _| {
        replace_file(path, token);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_written_in_place_is_in_use_without_a_poll() {
    measure_pickup("in place", "", "token", |path, token, _| {
        fs::write(path, token).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubernetes_volume_that_swaps_its_data_link_is_in_use_without_a_poll() {
    measure_pickup("kubernetes", "", "volume/token", |path, token, number| {
        let volume = path.parent().unwrap();
        fs::create_dir_all(volume).unwrap();
        let data = volume.join(format!("..2026_{number}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("token"), token).unwrap();
        retarget_symlink(&volume.join("..data"), Path::new(&format!("..2026_{number}")));
        if number == 0 {
            symlink("..data/token", path).unwrap();
        } else {
            fs::remove_dir_all(volume.join(format!("..2026_{}", number - 1))).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_an_env_file_is_in_use_without_a_poll() {
    let source = ", key = \"WHATSAPP_ACCESS_TOKEN\"";
    measure_pickup("key", source, ".env", |path, token, number| {
        let text = format!("# number {number}\r\nOTHER=1\r\nexport WHATSAPP_ACCESS_TOKEN='{token}' # new\r\n");
        replace_file(path, text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pointer_into_json_is_in_use_without_a_poll() {
    let source = ", pointer = \"/data/0/access_token\"";
    measure_pickup("pointer", source, "token.json", |path, token, number| {
        let text = format!(r#"{{"data":[{{"number":{number},"access_token":"{token}"}}]}}"#);
        replace_file(path, text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_byte_order_mark_quotes_scheme_and_crlf_is_in_use_without_a_poll() {
    measure_pickup("dressed", "", "token", |path, token, number| {
        let text = match number % 4 {
            0 => format!("\u{feff}{token}\r\n"),
            1 => format!("\"{token}\"\r\n"),
            2 => format!("Bearer {token}\n\n"),
            _ => format!("\u{feff}\r\n \"Bearer {token}\" \r\n"),
        };
        replace_file(path, text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_a_recreated_directory_is_in_use_without_a_poll() {
    let drop_into = |path: &Path, token: &str, number: u32| {
        let directory = path.parent().unwrap();
        if number.is_multiple_of(3) {
            // The new one may get the inode of the old one, but not its watch.
            drop(fs::remove_dir_all(directory));
            fs::create_dir(directory).unwrap();
        }
        replace_file(path, token);
    };
    measure_pickup("recreated directory", "", "volume/token", drop_into).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_or_a_device_is_rejected_and_blocks_nothing() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for kind in ["pipe", "terminal", "zeros", "directory"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        match kind {
            "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            "terminal" => symlink("/dev/ptmx", &path).unwrap(),
            "zeros" => symlink("/dev/zero", &path).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let source = format!("file = {path:?}");
        let mut sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
        let series = "graphward_token_files_rejected_total{tenant=\"default\",reason=\"unreadable\"}";
        wait_until(kind, async || sidecar.metric(series).await > 0).await;
        let response = Client::connect(sidecar.proxy).await.text("early").await;
        assert_eq!(response.status, 503, "{kind}");
        sidecar.signal(Signal::TERM);
        assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{kind}");
    }
}

/// Writes several tokens and measures each from the write to the response of the first request with it.
async fn measure_pickup(name: &str, more: &str, file: &str, drop_into: impl Fn(&Path, &str, u32)) {
    const DROPS: u32 = 7;
    let _turn = exclusive().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file);
    drop_into(&path, &graph.sim.issue(None), 0);
    let source = format!("file = {path:?}{more}");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, DEBUG_LOG)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    let mut took = Vec::new();
    for number in 1..=DROPS {
        let token = graph.sim.issue(None);
        let started = Instant::now();
        drop_into(&path, &token, number);
        took.push(pickup_time(&graph, &mut client, &token, started).await);
        sleep(Duration::from_millis(60)).await;
    }
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    fact(&format!("drop, {name}: median {median:?}, worst {worst:?}"));
    wait_until("each change is in the log", async || {
        changes(&sidecar).iter().sum::<usize>() >= DROPS as usize
    })
    .await;
    let [by_event, by_poll] = changes(&sidecar);
    // A poll may happen to come between the change and its event.
    assert!(by_event > by_poll, "{by_event} of {DROPS} by an event");
}

const DEBUG_LOG: &str = "[log]\nlevel = \"debug\"\n";

/// The number of changes of the file that an event announced, and of those that a poll found.
fn changes(sidecar: &Sidecar) -> [usize; 2] {
    let events = sidecar.log_events();
    let changes = events
        .iter()
        .filter(|event| event["message"] == "a watched file changed");
    let (by_event, by_poll): (Vec<_>, Vec<_>) = changes.partition(|change| change["by_event"] == true);
    [by_event.len(), by_poll.len()]
}

/// Sends one message after the other until Graph receives one with this token.
async fn pickup_time(graph: &Graph, client: &mut Client, token: &str, since: Instant) -> Duration {
    let fingerprint = fingerprint(token);
    graph.sim.reset();
    loop {
        assert_eq!(client.text("on and on").await.status, 200);
        if graph.last_fingerprint().as_ref() == Some(&fingerprint) {
            return since.elapsed();
        }
        assert!(since.elapsed() < TIMEOUT, "it was never used");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_may_be_created_after_the_start() {
    let _turn = exclusive().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late/later/token");
    let source = format!("file = {path:?}");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, DEBUG_LOG)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("too early").await.status, 503);
    let token = graph.sim.issue(None);
    let started = Instant::now();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &token).unwrap();
    wait_until("the token is in use", async || client.text("now?").await.status == 200).await;
    fact(&format!("drop, late directory: {:?}", started.elapsed()));
    let token = graph.sim.issue(None);
    let started = Instant::now();
    replace_file(&path, &token);
    pickup_time(&graph, &mut client, &token, started).await;
    wait_until("an event announced a change", async || changes(&sidecar)[0] > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_an_event_is_found_by_a_poll() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (mut file, sidecar) = Unseen::start(&graph, &graph.sim.issue(None), DEBUG_LOG).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    let mut took = Vec::new();
    for _ in 0..3 {
        let token = graph.sim.issue(None);
        let started = Instant::now();
        file.drop(&token);
        took.push(pickup_time(&graph, &mut client, &token, started).await);
    }
    fact(&format!("drop, no event: {took:?}"));
    wait_until("each change is in the log", async || changes(&sidecar)[1] >= 3).await;
    assert_eq!(changes(&sidecar)[0], 0, "an event announced one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_file_leaves_the_token_in_use_and_the_reason_in_the_log() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let good = graph.sim.issue(None);
    replace_file(&path, &good);
    let source = format!("file = {path:?}");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);

    let mut rejected = 0;
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b"\x00\x9f\x92\x96 no text", "binary"),
        (b"EAAG\x07control", "invalid_character"),
        (b"EAAG two words", "invalid_character"),
        (b"${META_TOKEN}\n", "unresolved_variable"),
        (b"<YOUR_TOKEN>", "placeholder"),
        (b"op://vault/meta/token", "reference"),
        (b"EAAGm0PX4ZCps # mine", "invalid_character"),
        (&[b'E'; 16 * 1024 + 1], "too_long"),
        (&[b'E'; 80 * 1024], "too_long"),
        (b" \r\n", "empty"),
    ] {
        let series = format!("graphward_token_files_rejected_total{{tenant=\"default\",reason=\"{reason}\"}}");
        let before = sidecar.metric(&series).await;
        replace_file(&path, bytes);
        wait_until(reason, async || sidecar.metric(&series).await > before).await;
        rejected += 1;
        assert_eq!(sidecar.metric(&series).await, before + 1, "{reason}");
        assert_eq!(client.text("still").await.status, 200);
        graph.assert_last_token(&good);
    }
    // Truncated in place.
    replace_file(&path, &good);
    sleep(Duration::from_millis(200)).await;
    drop(fs::File::create(&path).unwrap());
    let all = "graphward_token_files_rejected_total{";
    wait_until("it is rejected", async || sidecar.metric(all).await > rejected).await;
    assert_eq!(client.text("still").await.status, 200);
    assert_eq!(sidecar.metric("graphward_token_generation").await, 1);

    for reason in [
        "empty",
        "binary",
        "invalid_character",
        "unresolved_variable",
        "too_long",
    ] {
        let events = sidecar.log_events();
        let line = events.iter().find(|line| line["reason"] == reason);
        let line = line.unwrap_or_else(|| panic!("{reason} is not in the log"));
        assert_eq!(line["level"], "WARN");
        let error = line["message"].as_str().unwrap();
        assert!(
            error.starts_with(&format!("The file `{}` was rejected: ", path.display())),
            "{error}"
        );
    }

    let token = graph.sim.issue(None);
    let started = Instant::now();
    replace_file(&path, &token);
    pickup_time(&graph, &mut client, &token, started).await;
}
