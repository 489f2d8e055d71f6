//! `status` and `refresh` before a sidecar with more tenants, and longer reports, than one page has.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::place::text;
use crate::support::{Graph, Sidecar, get, graphward_command, network_settings, together, wait_until};

/// A sidecar whose tenants each read this file, once it has looked at all of them.
async fn start(dir: &Path, graph: &Graph, tenants: &[(String, String)]) -> Sidecar {
    let section = |(name, file): &(String, String)| format!("[tenants.{name}]\nsource = {{ file = \"{file}\" }}\n");
    let sections: String = tenants.iter().map(section).collect();
    let header = "[routing]\nheader = \"x-tenant-id\"\n";
    let sidecar = Sidecar::start(dir, &format!("{}{header}{sections}", network_settings(graph))).await;
    wait_until("it has looked at all", async || {
        let listed = get(sidecar.admin, "/admin/token-status?limit=1000").await.json();
        let reports = listed["tenants"].as_array().unwrap().clone();
        reports.len() == tenants.len() && reports.iter().all(|report| report["last_refresh"].is_object())
    })
    .await;
    sidecar
}

/// Runs a command; returns its exit code, and what it prints.
fn run(dir: &Path, sidecar: &Sidecar, args: &[&str]) -> (Option<i32>, String) {
    let admin = sidecar.admin.to_string();
    let output = graphward_command(dir, &[args, &["--admin", &admin]].concat())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_long_reports_is_shown_whole() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    // The path is in the source, in the reason and in the last error.
    let folders = vec!["a-long-name-of-a-folder".repeat(9); 4].join("/");
    let tenants: Vec<_> = (0..60)
        .map(|number| (format!("t{number:02}"), format!("{folders}/{number}")))
        .collect();
    let sidecar = start(dir.path(), &graph, &tenants).await;
    let page = get(sidecar.admin, "/admin/token-status?limit=50")
        .await
        .json()
        .to_string();
    assert!(page.len() > 64 * 1024, "{}", page.len());
    for command in ["status", "refresh"] {
        let (code, shown) = run(dir.path(), &sidecar, &[command]);
        assert_eq!(code, Some(1), "{shown}");
        for words in ["tokens: 60 dead\n", "\nt00 ", "\nt49 ", "\nMore: --after t49"] {
            assert!(shown.contains(words), "{command}: {words}: {shown}");
        }
    }
    let (_, json) = run(dir.path(), &sidecar, &["status", "--after", "t49", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 10, "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_on_another_page_is_exit_code_1_unless_others_were_asked_for() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let good = (0..50).map(|number| (format!("a{number:02}"), "token".to_owned()));
    let dead = (0..5).map(|number| (format!("z{number}"), "absent".to_owned()));
    let sidecar = start(dir.path(), &graph, &Vec::from_iter(good.chain(dead))).await;
    for (args, expected) in [
        (&["status"][..], 1),
        (&["refresh"], 1),
        (&["status", "--after", "z4"], 1),
        (&["status", "--state", "dead"], 1),
        (&["status", "--state", "dead", "--after", "z4"], 1),
        (&["status", "--tenant", "z3"], 1),
        (&["status", "--state", "usable"], 0),
        (&["status", "--tenant", "a07"], 0),
        (&["refresh", "--tenant", "a07"], 0),
    ] {
        let (code, shown) = run(dir.path(), &sidecar, args);
        assert_eq!(code, Some(expected), "{args:?}: {shown}");
        assert!(shown.contains("5 dead, 50 usable"), "{args:?}: {shown}");
    }
    let (_, first_page) = run(dir.path(), &sidecar, &["status"]);
    assert!(!first_page.contains("\nz"), "{first_page}");
    fs::copy(dir.path().join("token"), dir.path().join("absent")).unwrap();
    for command in ["refresh", "status"] {
        let (code, shown) = run(dir.path(), &sidecar, &[command]);
        assert_eq!(code, Some(0), "{command}: {shown}");
        assert!(shown.contains("tokens: 55 usable\n"), "{command}: {shown}");
    }
}
