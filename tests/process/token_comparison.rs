//! The comparison with the current token before `graphward token set`.

use std::fs;

use fake_graph::{TokenChange, TokenType};
use serde_json::Value;

use crate::support::place::{Place, codes, targets, text};
use crate::support::{fingerprint, refusing_address, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_kind_app_or_account_is_put_in_its_place_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let page = place.graph.sim.issue(None);
    place.graph.sim.update_token(&page, targets("500"));
    let kind = TokenChange {
        kind: Some(TokenType::Page),
        ..TokenChange::default()
    };
    place.graph.sim.update_token(&page, kind);
    let account = place.graph.sim.issue(None);
    place.graph.sim.update_token(&account, targets("600"));
    // Graph tells neither the app nor this token itself of which app it is.
    let app = place.graph.sim.issue(None);
    let of_other_app = TokenChange {
        app_id: Some("77".to_owned()),
        ..targets("500")
    };
    place.graph.sim.update_token(&app, of_other_app);
    let like = place.graph.sim.issue(None);
    place.graph.sim.update_token(&like, targets("500"));
    let current = || {
        fs::read_to_string(place.dir.path().join("token"))
            .unwrap()
            .trim()
            .to_owned()
    };
    for (candidate, words) in [
        (&page, "kind: page (current: system user)"),
        (&account, "accounts: 600 (current: 500)"),
        (&app, "app: another one (current: 1234567890123456)"),
    ] {
        let compared = place.run(&["check", "--diff"], candidate);
        assert_eq!(compared.status.code(), Some(2), "{}", text(&compared.stdout));
        let refused = place.run(&["token", "set"], candidate);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("--force"));
        assert_eq!(current(), place.token);
    }
    let compared = place.run(&["check", "--diff", "--json"], &like);
    assert_eq!(compared.status.code(), Some(0), "{}", text(&compared.stdout));
    assert_eq!(codes(&serde_json::from_slice(&compared.stdout).unwrap()), [""; 0]);
    assert_eq!(place.run(&["token", "set"], &like).status.code(), Some(0));
    assert_eq!(current(), like);
    let forced = place.run(&["token", "set", "--force"], &account);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
    assert_eq!(current(), account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_could_not_be_compared_is_put_in_its_place_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let [account, vague] = std::array::from_fn(|_| place.graph.sim.issue(None));
    place.graph.sim.update_token(&account, targets("600"));
    let path = place.dir.path().join("token");
    let current = || fs::read_to_string(&path).unwrap().trim().to_owned();
    // A token that names no account is stored, with a warning.
    let stored = place.run(&["token", "set"], &vague);
    assert_eq!(stored.status.code(), Some(0), "{}", text(&stored.stderr));
    let warning = "graphward: warning: accounts: unknown (current: 500)\n";
    assert!(text(&stored.stderr).contains(warning), "{}", text(&stored.stderr));
    place.write("token", &place.token);
    let config = fs::read_to_string(place.dir.path().join("graphward.toml")).unwrap();
    let (_closed, closed) = refusing_address();
    let unreachable = config.replace(&place.graph.running.address.to_string(), &closed.to_string());
    place.write("graphward.toml", &unreachable);
    let refused = place.run(&["token", "set"], &account);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    for words in ["so they were not compared", "--force"] {
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
    }
    assert_eq!(current(), place.token);
    for flag in ["--force", "--offline"] {
        place.write("token", &place.token);
        let stored = place.run(&["token", "set", flag, "--json"], &account);
        assert_eq!(stored.status.code(), Some(0), "{}", text(&stored.stderr));
        let change: Value = serde_json::from_slice(&stored.stdout).unwrap();
        let expected = serde_json::json!({
            "token": fingerprint(&account), "previous": fingerprint(&place.token), "inspected": false,
            "stored_in": change["stored_in"], "changed_by": "command", "reason": change["reason"],
        });
        assert_eq!(change, expected, "{flag}");
        let reason = change["reason"].as_str().unwrap();
        assert!(reason.starts_with("no sidecar answers at 127.0.0.1:0"), "{reason}");
        assert_eq!(current(), account);
        let line = place.run(&["token", "set", flag], &account);
        assert!(
            text(&line.stdout).ends_with("; Graph was not asked about it\n"),
            "{}",
            text(&line.stdout)
        );
    }
}
