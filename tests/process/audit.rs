//! The audit of what happens to tokens outside requests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::admin_changes::{LOCAL, document, put};
use crate::support::{Graph, Sidecar, fingerprint, get, replace_file, settings, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_what_happens_to_tokens_with_who_asked_and_goes_on_after_a_rotation() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let tokens = [(); 3].map(|()| graph.sim.issue(None));
    let [first, second, third] = &tokens;
    let path = dir.path().join("token");
    replace_file(&path, first);
    let more = "[audit]\nfile = \"audit.jsonl\"\n[state]\ndir = \"state\"\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", more)).await;
    sidecar.wait_until_uses(&graph, first).await;
    let file = dir.path().join("audit.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    replace_file(&path, second);
    sidecar.wait_until_uses(&graph, second).await;
    assert_eq!(put(sidecar.admin, LOCAL, &document(third)).status, 200);
    graph.sim.expire(third);
    assert_ne!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    let records = |path: &std::path::Path| -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |action: &str, token: &str| {
        let (token, all) = (fingerprint(token), records(&file));
        all.into_iter()
            .find(|record| record["action"] == action && record["token"] == token.as_str())
    };
    wait_until("all is written", async || of("rejected", third).is_some()).await;
    for (action, token, generation) in [("loaded", first, 1), ("loaded", second, 2), ("rejected", third, 3)] {
        let record = of(action, token).unwrap_or_else(|| panic!("{action}: {:?}", records(&file)));
        assert_eq!(
            (&record["tenant"], &record["generation"]),
            (&"default".into(), &generation.into())
        );
        assert!(record["source"].as_str().unwrap().ends_with("token"), "{record}");
        assert!(record["time"].as_str().unwrap().ends_with('Z'), "{record}");
        assert!(record.get("peer").is_none(), "{record}");
    }
    let set = of("set", third).unwrap();
    assert!(set["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{set}");

    // As logrotate does it.
    let rotated = dir.path().join("audit.jsonl.1");
    fs::rename(&file, &rotated).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until("the file is opened anew", async || file.exists()).await;
    let fourth = graph.sim.issue(None);
    replace_file(&path, &fourth);
    sidecar.wait_until_uses(&graph, &fourth).await;
    wait_until("it goes on", async || of("loaded", &fourth).is_some()).await;
    let text = fs::read_to_string(&rotated).unwrap() + &fs::read_to_string(&file).unwrap();
    assert!(tokens.iter().all(|token| !text.contains(token)), "{text}");
}
