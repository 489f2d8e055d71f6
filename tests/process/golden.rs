//! What commands print for people, compared whole with the files in `golden/`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test process golden` writes them anew.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fake_graph::{Expiry, TokenChange, TokenType};
use graphward::types::{Clock, Rfc3339Timestamp};
use regex_lite::Regex;

use crate::support::place::{APP, NUMBER, Place, targets, text};
use crate::support::{Sidecar, fingerprint, settings, together, wait_until};

/// A place whose token ends in 30 days, and the texts that are different each time, with those in their place.
struct Stage {
    place: Place,
    volatile: Vec<(String, &'static str)>,
}

impl Stage {
    async fn new() -> Self {
        let place = Place::new().await;
        // An hour more, so that a slow machine shows as many days.
        let left = Duration::from_secs(30 * 24 * 60 * 60 + 60 * 60);
        let seconds = Clock::system().now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let end = UNIX_EPOCH + Duration::from_secs(seconds) + left;
        let change = TokenChange {
            expires_at: Some(Expiry::At(end)),
            ..TokenChange::default()
        };
        place.graph.sim.update_token(&place.token, change);
        let volatile = vec![
            (place.dir.path().display().to_string(), "/etc/graphward"),
            (fingerprint(&place.token), "11111111"),
            (place.graph.running.address.to_string(), "157.240.0.13:443"),
            (Rfc3339Timestamp(end).to_string(), "2026-12-01T00:00:00Z"),
        ];
        Self { place, volatile }
    }

    /// Runs a command, and returns what it prints without what is different each time.
    fn shown(&self, args: &[&str], input: &str) -> String {
        let output = self.place.run(args, input);
        let shown = text(&output.stdout) + &text(&output.stderr);
        let replace = |shown: String, (volatile, stable): &(String, &str)| shown.replace(volatile, stable);
        let shown = self.volatile.iter().fold(shown, replace);
        let shown = Regex::new("[0-9]+ ms").unwrap().replace_all(&shown, "31 ms");
        let message_id = Regex::new("wamid[.][A-Za-z0-9+/=_-]+").unwrap();
        message_id.replace_all(&shown, "wamid.1").into_owned()
    }

    /// Runs a command, and fails unless it prints what the file says.
    fn assert_prints(&self, file: &str, args: &[&str], input: &str) {
        let shown = self.shown(args, input);
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/process/golden")
            .join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &shown).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shown == expected,
            "run `UPDATE_GOLDEN=1 cargo test --test process golden`\n{shown}\nis not {}:\n{expected}",
            path.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_of_a_check_is_as_it_was() {
    let _turn = together().await;
    let stage = Stage::new().await;
    stage.assert_prints("check.txt", &["check", "--phone-number-id", "15550102922"], "");
    stage.assert_prints("token-show.txt", &["token", "show"], "");
    stage.assert_prints("check.json", &["check", "--json"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_of_the_documentation_is_what_a_check_prints() {
    let _turn = together().await;
    let place = Place::new().await;
    let change = TokenChange {
        scopes: Some(
            ["whatsapp_business_management", "whatsapp_business_messaging"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..TokenChange::default()
    };
    place.graph.sim.update_token(&place.token, change);
    // The mistake that the sample shows.
    let number = "[check]\nphone_number_id = \"15550102922\"\n";
    place.configure("file = \"token\"", &format!("{APP}{number}"));
    let dir = place.dir.path().display().to_string();
    let volatile = vec![
        (format!("{dir}/token"), "/run/graphward/token"),
        (dir, "/etc/graphward"),
        (fingerprint(&place.token), "1580c347"),
        (place.graph.running.address.to_string(), "157.240.0.13:443"),
    ];
    let shown = Stage { place, volatile }.shown(&["check"], "");
    let page = include_str!("../../docs/check.md");
    let (_, sample) = page.split_once("$ graphward check\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    assert!(shown == sample, "docs/check.md has\n{sample}\nand not\n{shown}");
}

#[cfg(feature = "fake")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_help_is_as_it_was() {
    let _turn = together().await;
    Stage::new().await.assert_prints("help.txt", &["--help"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_printed_as_it_was() {
    let _turn = together().await;
    let stage = Stage::new().await;
    // Nothing of this machine moves the comments after the values.
    stage.place.write(
        "graphward.toml",
        &format!("[token]\nsource = {{ file = \"token\" }}\n{APP}"),
    );
    stage.assert_prints("print-config.txt", &["print-config"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_token_is_reported_as_it_was() {
    let _turn = together().await;
    let mut stage = Stage::new().await;
    let place = &stage.place;
    let next = place.graph.sim.issue(None);
    place.graph.sim.update_token(&next, targets("500"));
    let config = settings(
        &place.graph,
        "file = \"token\"",
        &format!("{APP}[state]\ndir = \"state\"\n"),
    );
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let admin = sidecar.admin.to_string();
    // The commands find the sidecar by the configuration.
    place.write(
        "graphward.toml",
        &config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{admin}\"")),
    );
    stage.volatile.push((fingerprint(&next), "22222222"));
    stage.volatile.push((admin, "127.0.0.1:9080"));
    stage.assert_prints("token-set.txt", &["token", "set"], &next);
    stage.assert_prints("token-rollback.txt", &["token", "rollback"], "");
    stage.assert_prints("refresh.txt", &["refresh"], "");
    stage.assert_prints("token-set.json", &["token", "set", "--json"], &next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_is_as_it_was() {
    let _turn = together().await;
    let mut stage = Stage::new().await;
    let page = stage.place.graph.sim.issue(None);
    let change = TokenChange {
        kind: Some(TokenType::Page),
        ..targets("600")
    };
    stage.place.graph.sim.update_token(&page, change);
    stage.volatile.push((fingerprint(&page), "22222222"));
    stage.assert_prints("check-diff.txt", &["check", "--diff"], &page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_tenants_is_as_it_was() {
    let _turn = together().await;
    let mut stage = Stage::new().await;
    let place = &stage.place;
    let tenants = "[tenants.acme]\nsource = { file = \"absent\" }\n";
    let config = settings(&place.graph, "file = \"token\"", &format!("{APP}{tenants}"));
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    let has_said = |words: &str| sidecar.stdout().contains(words);
    wait_until("it has looked", async || {
        has_said("using a new token") && has_said("/absent")
    })
    .await;
    let admin = sidecar.admin.to_string();
    stage.volatile.push((admin.clone(), "127.0.0.1:9080"));
    stage.assert_prints("status.txt", &["status", "--admin", &admin], "");
    stage.assert_prints("status-dead.txt", &["status", "--admin", &admin, "--state", "dead"], "");
    stage.assert_prints("status-unknown-state.txt", &["status", "--state", "expired"], "");
    let proxy = sidecar.proxy.to_string();
    stage.volatile.push((proxy.clone(), "127.0.0.1:8080"));
    stage.assert_prints("status-proxy.txt", &["status", "--admin", &proxy], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_is_reported_as_it_was() {
    let _turn = together().await;
    let mut stage = Stage::new().await;
    let place = &stage.place;
    let config = settings(&place.graph, "file = \"token\"", APP);
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let proxy = sidecar.proxy.to_string();
    let to = [
        "send-test",
        "--to",
        "+15550100199",
        "--phone-number-id",
        NUMBER,
        "--proxy",
        &proxy,
    ];
    stage.volatile.push((proxy.clone(), "127.0.0.1:8080"));
    stage.assert_prints("send-test.txt", &to, "");
    stage.assert_prints("send-test.json", &[&to[..], &["--json"][..]].concat(), "");
    stage.assert_prints(
        "send-test-refused.txt",
        &[&to[..4], &["601", "--proxy", &proxy][..]].concat(),
        "",
    );
}
