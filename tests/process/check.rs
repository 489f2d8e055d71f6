//! `graphward check`, and `graphward token` for tenants.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use fake_graph::{TokenChange, TokenType};
use serde_json::Value;

use crate::support::place::{APP, NUMBER, Place, codes, targets, text};
use crate::support::{APP_SECRET, Sidecar, graphward_command, refusing_address, settings, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_configuration_is_described_and_exits_with_0() {
    let _turn = together().await;
    let place = Place::new().await;
    let output = place.run(&["check", "--phone-number-id", NUMBER], "");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for words in [
        "Graph https://graph.facebook.com",
        "TLS 1.3, ",
        "source   file /",
        "kind: system user, app: 1234567890123456, never expires",
        "scopes   business_management, whatsapp_business_management, whatsapp_business_messaging",
        "app      1234567890123456, and the secret is right",
        "proof    on",
        "number   +1 555-010-2922 \"Fake Graph\" (id 106540352242922, account 500), code verification VERIFIED, quality GREEN",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // Without an id, the numbers are those of the accounts that the token names.
    assert_eq!(place.check(&[]), (vec![], Some(0)));
    place.write(".env", &format!("A=1\nPHONE_ID={NUMBER}\n"));
    let number = "[check]\nphone_number_id = { file = \".env\", key = \"PHONE_ID\" }\n";
    place.configure("file = \"token\"", &format!("{APP}{number}"));
    assert_eq!(place.check(&[]), (vec![], Some(0)));
    place.write(".env", "PHONE_ID=601\n");
    assert_eq!(place.check(&[]).0, ["number_of_other_account"]);
    // Another line of the file may be a secret.
    place.write(".env", "PHONE_ID=hunter2\n");
    let refused = place.run(&["check"], "");
    let shown = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{shown}");
    assert!(
        shown.contains("check.phone_number_id") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_with_an_id_is_named_with_the_right_id() {
    let _turn = together().await;
    let place = Place::new().await;
    for (id, code, advice) in [
        ("15550102922", "number_in_place_of_id", "Its id is 106540352242922."),
        (
            "+1 (555) 010-2922",
            "number_in_place_of_id",
            "Its id is 106540352242922.",
        ),
        (
            "+49 170 1234567",
            "number_in_place_of_id",
            "106540352242922 (+1 555-010-2922)",
        ),
        ("500", "account_in_place_of_id", "106540352242922 (+1 555-010-2922)"),
        ("601", "number_of_other_account", "106540352242922 (+1 555-010-2922)"),
        ("600", "number_of_other_account", "106540352242922 (+1 555-010-2922)"),
    ] {
        let output = place.run(&["check", "--phone-number-id", id], "");
        assert_eq!(output.status.code(), Some(2), "{id}: {}", text(&output.stdout));
        assert!(text(&output.stdout).contains(advice), "{id}: {}", text(&output.stdout));
        assert_eq!(place.check(&["--phone-number-id", id]).0, [code], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_a_tenant_that_no_phone_number_can_have_is_not_called_one() {
    let _turn = together().await;
    let place = Place::new().await;
    place.write("acme", &place.token);
    let ids = format!("[tenants.acme]\nids = [\"{NUMBER}\", \"500\", \"act_99\"]\n");
    let source = "source = { file = \"acme\" }\n[routing]\nheader = \"x-tenant-id\"\n";
    place.configure("file = \"token\"", &format!("{APP}{ids}{source}"));
    assert_eq!(place.check(&["--tenant", "acme"]), (vec![], Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_with_a_token_or_an_app_is_named() {
    let _turn = together().await;
    let place = Place::new().await;
    let kind = |kind| TokenChange {
        kind: Some(kind),
        ..TokenChange::default()
    };
    let scopes = TokenChange {
        scopes: Some(vec!["whatsapp_business_management".to_owned()]),
        ..TokenChange::default()
    };
    let app = TokenChange {
        app_id: Some("77".to_owned()),
        ..TokenChange::default()
    };
    for (change, code, exit) in [
        (kind(TokenType::Page), "page_token", 2),
        (kind(TokenType::User), "user_token", 1),
        (scopes, "missing_scopes", 2),
        (app, "token_of_other_app", 2),
    ] {
        let token = place.graph.sim.issue(None);
        place.graph.sim.update_token(&token, targets("500"));
        place.graph.sim.update_token(&token, change);
        place.write("token", &token);
        let (codes, status) = place.check(&[]);
        assert!(codes.iter().any(|found| found == code), "{code}: {codes:?}");
        assert_eq!(status, Some(exit), "{codes:?}");
    }
    place.write("token", &place.token);
    place.write("secret", "fedcba9876543210fedcba9876543210");
    assert_eq!(place.check(&[]).0, ["app_secret_wrong", "not_asked"]);
    fs::remove_file(place.dir.path().join("secret")).unwrap();
    assert_eq!(place.check(&[]).0, ["app_secret_unreadable", "not_asked"]);
    place.write("secret", APP_SECRET);
    place.graph.sim.expire(&place.token);
    assert_eq!(place.check(&[]), (vec!["token_invalid".to_owned()], Some(2)));
    fs::remove_file(place.dir.path().join("token")).unwrap();
    assert_eq!(place.check(&[]).0, ["source_failed", "no_token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_asks_graph_nothing_and_an_unreachable_graph_is_bad() {
    let _turn = together().await;
    let place = Place::new().await;
    assert_eq!(place.check(&["--offline"]), (vec![], Some(0)));
    let counts = place.graph.sim.counts();
    assert_eq!((counts.inspections, counts.attempts), (0, 0));
    let config = fs::read_to_string(place.dir.path().join("graphward.toml")).unwrap();
    let (_closed, closed) = refusing_address();
    let config = config.replace(&place.graph.running.address.to_string(), &closed.to_string());
    place.write("graphward.toml", &config);
    let (codes, status) = place.check(&[]);
    assert_eq!(status, Some(2));
    assert_eq!(codes, ["unreachable", "not_asked", "not_asked"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_that_was_read_is_named_and_a_missing_one_is() {
    let _turn = together().await;
    let place = Place::new().await;
    let shown = || text(&place.run(&["check", "--offline", "--token-file", "token"], "").stdout);
    let file = place.dir.path().join("graphward.toml");
    assert!(shown().contains(&format!("  ok       file     {}\n", file.display())));
    fs::remove_file(file).unwrap();
    // The machine may have one.
    let looked = format!(
        "no configuration file: {} and /etc/",
        place.dir.path().join("graphward.toml").display()
    );
    let expected = [&*looked, "ok       file     /etc/graphward/"];
    assert!(expected.iter().any(|words| shown().contains(words)), "{}", shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_could_be_safer_are_named() {
    let _turn = together().await;
    let place = Place::new().await;
    let service =
        r#"http = "http://127.0.0.1:1/{tenant}", headers = { x-caller = "hunter2hunter2hunter2", x-version = "2" }"#;
    let renewer = service.replace("{tenant}", "renew");
    let places = service.replace(", headers", "\nheaders");
    let extra = format!(
        r#"renew = {{ {renewer} }}
[app]
secret = {{ file = "open" }}
[alerts]
url = "https://hooks.slack.com/services/T00000000/B00000000/hunter2hunter2hunter2Hunter2"
[tenants.acme]
source = [{{ env = "MY_TOKEN" }}, {{ {renewer} }}, {{ exec = ["vault", "--token", "hunter2"] }}]
renew = {{ {renewer} }}
[tenants.other]
source = {{ exec = ["/bin/sh", "-c", "cat token", "-field=token", "secret/whatsapp"] }}
renew = {{ exec = ["new-token", "--client-secret=hunter2"] }}
[routing]
header = "x-tenant-id"
[tenants_from]
{places}
"#
    );
    place.configure("env = \"MY_TOKEN\"", &extra);
    let open = place.dir.path().join("open");
    fs::write(&open, "hunter2").unwrap();
    fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let check = |more: &[&str]| {
        let mut command = graphward_command(place.dir.path(), &[&["check", "--offline"], more].concat());
        command.env("MY_TOKEN", &place.token).output().unwrap()
    };
    let output = check(&[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for words in [
        "alerts.url may have a secret in it",
        "token.renew.headers.x-caller may have a secret in it",
        "tenants.acme.source.headers.x-caller may have a secret in it",
        "tenants.acme.renew.headers.x-caller may have a secret in it",
        "tenants_from.headers.x-caller may have a secret in it",
        "tenants.acme.source.exec may have a secret in it",
        "tenants.other.renew.exec may have a secret in it",
        "/open is readable by every user",
        "the variable MY_TOKEN has a secret",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(
        !shown.contains("x-version") && !shown.contains("tenants.other.source.exec may"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !shown.contains(&place.token), "{shown}");
    let report: Value = serde_json::from_slice(&check(&["--json"]).stdout).unwrap();
    let found = codes(&report);
    let count = |code: &str| found.iter().filter(|found| *found == code).count();
    assert_eq!(count("inline_secret"), 7, "{found:?}");
    assert_eq!(
        (count("readable_file"), count("secret_in_variable")),
        (1, 1),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_cannot_be_listed_are_a_note_and_a_place_that_cannot_be_read_is_bad() {
    let _turn = together().await;
    let place = Place::new().await;
    let tenants = |place: &str| format!("{APP}[tenants_from]\n{place}\n");
    place.configure("file = \"token\"", &tenants("exec = [\"cat\", \"{tenant}\"]"));
    assert_eq!(place.check(&["--offline"]), (vec!["not_listed".to_owned()], Some(0)));
    place.configure("file = \"token\"", &tenants("file = \"tokens/{tenant}\""));
    assert_eq!(place.check(&["--offline"]), (vec!["table_failed".to_owned()], Some(2)));
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    place.write("tokens/acme", &place.token);
    place.write("tokens/a b", &place.token);
    assert_eq!(place.check(&["--offline"]), (vec!["row_invalid".to_owned()], Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenants_of_a_directory_are_counted_and_the_bad_ones_are_listed() {
    let _turn = together().await;
    let place = Place::new().await;
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    for number in 0..30 {
        let token = place.graph.sim.issue(None);
        if number < 25 {
            place.graph.sim.expire(&token);
        }
        place.write(&format!("tokens/tenant-{number:02}"), &token);
    }
    let config = settings(
        &place.graph,
        "file = \"token\"",
        &format!("{APP}[tenants_from]\nfile = \"tokens/{{tenant}}\"\n"),
    );
    place.write("graphward.toml", &config);
    let output = place.run(&["check", "--json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(report["listed"], serde_json::json!({"ok": 5, "bad": 25}));
    let sections = report["sections"].as_array().unwrap();
    let names: Vec<_> = sections
        .iter()
        .filter_map(|section| section["tenant"].as_str())
        .collect();
    assert_eq!((names.len(), names[1], names[20]), (21, "tenant-00", "tenant-19"));
    for (name, exit) in [("tenant-29", 0), ("tenant-00", 2), ("nowhere", 2)] {
        let output = place.run(&["check", "--tenant", name], "");
        assert_eq!(output.status.code(), Some(exit), "{name}: {}", text(&output.stdout));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_a_tenant_is_a_warning() {
    let _turn = together().await;
    let place = Place::new().await;
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    let table = format!("{APP}[tenants_from]\nfile = \"tokens/{{tenant}}\"\n");
    place.configure("file = \"token\"", &table);
    assert_eq!(place.check(&["--offline"]), (vec!["no_tenants".to_owned()], Some(1)));
    place.write("tokens/row", &place.token);
    assert_eq!(place.check(&["--offline"]), (vec![], Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_tenant_is_shown_and_set_where_it_is() {
    let _turn = together().await;
    let place = Place::new().await;
    let (acme, next) = (place.graph.sim.issue(None), place.graph.sim.issue(None));
    place.write("acme", &acme);
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    place.write("tokens/row", &acme);
    let tenants = "[tenants.acme]\nsource = { file = \"acme\" }\n[tenants_from]\nfile = \"tokens/{tenant}\"\n";
    place.configure("file = \"token\"", &format!("{APP}{tenants}"));
    let ambiguous = place.run(&["token", "show"], "");
    assert_eq!(ambiguous.status.code(), Some(2));
    assert!(
        text(&ambiguous.stderr).contains("name one with --tenant: default, acme"),
        "{}",
        text(&ambiguous.stderr)
    );
    for (name, file) in [("acme", "acme"), ("row", "tokens/row")] {
        let shown = place.run(&["token", "show", "--tenant", name, "--json"], "");
        let report: Value = serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{}", text(&shown.stderr)));
        let facts = &report["sections"][0]["facts"];
        assert_eq!(facts["kind"][0], "system user");
        assert!(!text(&shown.stdout).contains(&acme));
        let set = place.run(&["token", "set", "--tenant", name], &next);
        assert_eq!(set.status.code(), Some(0), "{name}: {}", text(&set.stderr));
        assert_eq!(fs::read_to_string(place.dir.path().join(file)).unwrap().trim(), next);
        let unknown = place.run(&["token", "set", "--tenant", "nowhere"], &next);
        assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_sets_the_token_of_a_tenant() {
    let _turn = together().await;
    let place = Place::new().await;
    let (acme, next) = (place.graph.sim.issue(None), place.graph.sim.issue(None));
    place.write("acme", &acme);
    let admin = format!("admin = \"unix:{}\"", place.dir.path().join("admin.sock").display());
    let config = settings(
        &place.graph,
        "file = \"token\"",
        &format!("{APP}[tenants.acme]\nsource = {{ file = \"acme\" }}\n"),
    );
    let config = config.replace("admin = \"127.0.0.1:0\"", &admin);
    let _sidecar = Sidecar::start(place.dir.path(), &config).await;
    let set = place.run(&["token", "set", "--tenant", "acme"], &next);
    assert!(
        text(&set.stdout).contains("by the sidecar at unix:"),
        "{}{}",
        text(&set.stdout),
        text(&set.stderr)
    );
    assert_eq!(fs::read_to_string(place.dir.path().join("acme")).unwrap().trim(), next);
    assert_eq!(fs::read_to_string(place.dir.path().join("token")).unwrap(), place.token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_no_phone_number_was_checked_is_said_where_graph_tells_only_the_app_about_a_token() {
    let _turn = together().await;
    let place = Place::new().await;
    place.configure("file = \"token\"", "");
    let output = place.run(&["check"], "");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let words = "note     number   Graph does not say which accounts the token names, as app.id and app.secret are not both set";
    assert!(shown.contains(words) && !shown.contains("names no"), "{shown}");
    assert_eq!(place.check(&[]).0, ["no_app", "not_asked"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_of_a_file_changes_the_terminal() {
    let _turn = together().await;
    let place = Place::new().await;
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    let name = "a\u{1b}[2J\u{7}\u{9b}31mz";
    for file in [name, &format!("tokens/{name}")] {
        place.write(file, &place.token);
    }
    let tenants = format!("{APP}[tenants_from]\nfile = \"tokens/{{tenant}}\"\n");
    place.configure(&format!("file = {}", Value::from(name)), &tenants);
    let absent = format!("absent-{name}");
    for (args, words) in [
        (&["check", "--offline"][..], "a [2J 31mz: token"),
        (&["check", "--config", &absent], "absent-a [2J 31mz"),
        (&["token", "seal", "--key-file", &absent], "absent-a [2J"),
        (&["token", "set", "--offline"], "a [2J 31mz: stored"),
    ] {
        // It fails if an escape sequence is printed.
        let output = place.run(args, &place.graph.sim.issue(None));
        let shown = text(&output.stdout) + &text(&output.stderr);
        let is_foreign = |letter: char| letter.is_control() && letter != '\n';
        assert!(!shown.contains(is_foreign), "{args:?}: {shown:?}");
        let shown = shown
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(shown.contains(words), "{args:?}: {shown}");
    }
}
