//! What `send-test` makes of a tenant's name and of the mode of the sidecar. `operator_commands.rs` has its messages.

use serde_json::json;

use crate::support::place::{NUMBER, Place, text};
use crate::support::{Sidecar, settings, together, wait_until};

/// Sends a message from the test number through the sidecar, and returns what is printed with the exit code.
fn send(place: &Place, sidecar: &Sidecar, args: &[&str]) -> (String, Option<i32>) {
    send_from(NUMBER, place, sidecar, args)
}

fn send_from(number: &str, place: &Place, sidecar: &Sidecar, args: &[&str]) -> (String, Option<i32>) {
    let proxy = sidecar.proxy.to_string();
    let fixed = [
        "send-test",
        "--to",
        "+15550100199",
        "--phone-number-id",
        number,
        "--proxy",
        &proxy,
    ];
    let output = place.run(&[&fixed, args].concat(), "");
    (text(&output.stdout) + &text(&output.stderr), output.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_tenant_alone_can_be_named_and_another_name_sends_nothing() {
    let _turn = together().await;
    let place = Place::new().await;
    let sidecar = Sidecar::start(place.dir.path(), &settings(&place.graph, "file = \"token\"", "")).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    let (shown, code) = send(&place, &sidecar, &["--tenant", "default"]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(place.graph.sim.accepted_messages().len(), 1);
    let calls = || place.graph.sim.recorded_calls().iter().filter(|call| call.data).count();
    let before = calls();
    let (shown, code) = send(&place, &sidecar, &["--tenant", "absent"]);
    assert_eq!(shown, "graphward: no tenant has this name; the tenants are: default\n");
    assert_eq!(code, Some(2));
    assert_eq!(calls(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_row_is_sent_to_the_sidecar_which_knows_the_rows() {
    let _turn = together().await;
    let place = Place::new().await;
    let rows = "[tenants_from]\nfile = \"{tenant}.token\"\n";
    place.write("acme.token", &place.token);
    let sidecar = Sidecar::start(place.dir.path(), &settings(&place.graph, "file = \"token\"", rows)).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    let (shown, code) = send(&place, &sidecar, &["--tenant", "acme"]);
    assert_eq!(code, Some(0), "{shown}");
    let (shown, code) = send(&place, &sidecar, &["--tenant", "absent"]);
    assert!(shown.contains("the sidecar refused the message: "), "{shown}");
    assert_eq!(code, Some(1), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_only_observes_is_named_as_the_cause_of_a_missing_token() {
    let _turn = together().await;
    let place = Place::new().await;
    let observes = "[heal]\nmode = \"observe\"\n";
    let sidecar = Sidecar::start(place.dir.path(), &settings(&place.graph, "file = \"token\"", observes)).await;
    let (shown, code) = send(&place, &sidecar, &[]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("set the sidecar's heal.mode to ") && !shown.contains("the app"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_and_the_language_of_the_flags_are_those_of_the_message() {
    let _turn = together().await;
    let place = Place::new().await;
    let sidecar = Sidecar::start(place.dir.path(), &settings(&place.graph, "file = \"token\"", "")).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    for (args, name, language) in [
        (&[][..], "hello_world", "en_US"),
        (&["--template", "order_sent"], "order_sent", "en_US"),
        (
            &["--template", "order_sent", "--language", "pt_BR"],
            "order_sent",
            "pt_BR",
        ),
    ] {
        let (shown, code) = send(&place, &sidecar, args);
        assert_eq!(code, Some(0), "{args:?}: {shown}");
        let sent = place.graph.sim.accepted_messages().pop().unwrap();
        assert_eq!(sent.kind, "template", "{args:?}");
        let expected = json!({ "name": name, "language": { "code": language } });
        assert_eq!(sent.params["template"], expected, "{args:?}");
    }
    for other in [["--template", "order_sent"], ["--language", "pt_BR"]] {
        let (shown, code) = send(&place, &sidecar, &[&["--text", "hello"], &other[..]].concat());
        assert_eq!(code, Some(2), "{other:?}: {shown}");
        assert!(shown.contains("cannot be used with"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_production_number_that_sends_the_default_template_is_told_to_name_one_of_its_own() {
    let _turn = together().await;
    let place = Place::new().await;
    let sidecar = Sidecar::start(place.dir.path(), &settings(&place.graph, "file = \"token\"", "")).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    let production = "106540352242999";
    let (shown, code) = send_from(production, &place, &sidecar, &[]);
    assert_eq!(code, Some(1), "{shown}");
    for words in [
        "(code 131058)",
        "hello_world",
        "`graphward send-test --template NAME --language CODE`",
        "test number",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let (shown, code) = send_from(
        production,
        &place,
        &sidecar,
        &["--template", "order_sent", "--language", "en"],
    );
    assert_eq!(code, Some(0), "{shown}");
    let sent = place.graph.sim.accepted_messages();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].phone_id.as_str(), &sent[0].params["template"]["name"]),
        (production, &json!("order_sent"))
    );
}
