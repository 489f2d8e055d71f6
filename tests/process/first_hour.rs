//! The mistakes of the first hour with graphward: each is answered with what is wrong, where, and what to do.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tokio::net::TcpListener as AsyncTcpListener;

use crate::support::place::{Place, text};
use crate::support::{
    Client, Graph, Sidecar, TestResponse, fingerprint, get, graphward_command, network_settings, terminal, together,
    wait_until,
};

/// The flags with which a command calls this Graph, without a configuration file.
fn graph_flags(graph: &Graph) -> Vec<String> {
    let origin = format!("https://{}", graph.running.address);
    let (ca, app) = (graph.ca().display().to_string(), "1234567890123456".to_owned());
    let flags = [("origin", origin), ("ca-file", ca), ("token-file", "token".to_owned())];
    let app = [("app-id", app), ("app-secret-file", "secret".to_owned())];
    flags
        .into_iter()
        .chain(app)
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_that_calls_graph_takes_the_flags_that_say_where_it_is() {
    let _turn = together().await;
    let place = Place::new().await;
    // Nothing of Graph is in it.
    let config = "[listen]\nadmin = \"127.0.0.1:0\"\n[state]\ndir = \"state\"\n";
    place.write("graphward.toml", config);
    let flags = graph_flags(&place.graph);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    assert_eq!(place.check(&flags), (vec![], Some(0)));
    let next = place.graph.sim.issue(None);
    place
        .graph
        .sim
        .update_token(&next, crate::support::place::targets("500"));
    for (command, input, words) in [
        (&["check", "--diff"][..], &*next, "ok       kind     system user"),
        (&["token", "show"], "", "kind: system user"),
        (&["token", "set"], &next, "stored"),
        (&["token", "rollback"], "", "rolled back"),
    ] {
        let asked = place.graph.sim.counts().inspections;
        let output = place.run(&[command, &flags].concat(), input);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {shown}");
        assert!(shown.contains(words), "{command:?}: {shown}");
        assert!(!shown.contains("was not asked"), "{command:?}: {shown}");
        assert!(
            place.graph.sim.counts().inspections > asked,
            "{command:?} asks this Graph"
        );
    }
    let stored = fs::read_to_string(place.dir.path().join("token")).unwrap();
    assert_eq!(fingerprint(stored.trim_end()), fingerprint(&place.token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_of_the_banner_has_the_flags_of_the_sidecar() {
    let _turn = together().await;
    let place = Place::new().await;
    place.write(
        "graphward.toml",
        "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n",
    );
    let flags = graph_flags(&place.graph);
    let (controller, end) = terminal();
    let mut command = graphward_command(place.dir.path(), &["serve"]);
    command.args(&flags).env("NO_COLOR", "1");
    let mut child = command.stdout(end.try_clone().unwrap()).stderr(end).spawn().unwrap();
    drop(command);
    let (mut output, mut reader, mut buffer) = (String::new(), File::from(controller), [0; 4096]);
    let line = loop {
        let length = reader.read(&mut buffer).expect("it serves");
        output += &String::from_utf8_lossy(&buffer[..length]);
        let shown = output
            .split_once("replace it: ")
            .and_then(|(_, rest)| rest.split_once("\r\n"));
        if let Some((line, _)) = shown {
            break line.to_owned();
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("graphward token set "), "{line}");
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap();
        // It works in each directory.
        let path = place.dir.path().join(value).display().to_string();
        let value = if name.ends_with("-file") { &path } else { value };
        assert!(line.contains(&format!("{name} {value}")), "{flag}: {line}");
    }
}

/// Sends a request through a sidecar that cannot reach Graph. The answer, and the line of the log about its token.
async fn call_graph(place: &Place, config: &str) -> (TestResponse, String) {
    let sidecar = Sidecar::start(place.dir.path(), config).await;
    let refused = Client::connect(sidecar.proxy).await.text("hello").await;
    let told = "using the token without inspection";
    wait_until(told, async || sidecar.stdout().contains(told)).await;
    let log = sidecar.stdout();
    let inspected = log.lines().find(|line| line.contains(told)).unwrap();
    (refused, inspected.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_unknown_ca_names_the_key_and_the_flag_that_make_it_known() {
    let _turn = together().await;
    let place = Place::new().await;
    // That of a fake Graph that has been started anew: the same name, and another key.
    let before = Graph::start().await;
    fs::copy(before.ca(), place.dir.path().join("stale.pem")).unwrap();
    for ca in ["", "stale.pem"] {
        let config = format!(
            "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[upstream]\norigin = \"https://{}\"\nca_file = \"{ca}\"\n\
             [token]\nsource = {{ file = \"token\" }}\n",
            place.graph.running.address
        );
        let (refused, inspected) = call_graph(&place, &config).await;
        let set = place.run(&["token", "set"], &place.graph.sim.issue(None));
        let shown = [
            refused.json()["error"]["message"].as_str().unwrap().to_owned(),
            inspected,
            text(&place.run(&["check"], "").stdout),
            text(&set.stderr),
        ];
        assert_eq!((refused.status, set.status.code()), (502, Some(1)));
        for shown in shown {
            let advice = "set upstream.ca_file (--ca-file) to a PEM file";
            assert!(shown.contains(advice), "{ca:?}: {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_speak_tls_is_named_with_its_port() {
    let _turn = together().await;
    let place = Place::new().await;
    let listener = AsyncTcpListener::bind("127.0.0.1:0").await.unwrap();
    // The mistake: the port of the control API in the place of Graph's.
    let control = place.graph.sim.start_control(listener).unwrap();
    let address = control.address.to_string();
    for upstream in [
        format!("origin = \"https://{address}\""),
        format!("connect_to = {{ \"graph.facebook.com\" = \"{address}\" }}"),
    ] {
        let config = format!(
            "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[upstream]\n{upstream}\n\
             [token]\nsource = {{ file = \"token\" }}\n"
        );
        let (refused, inspected) = call_graph(&place, &config).await;
        let report = text(&place.run(&["check"], "").stdout);
        let probed = report
            .lines()
            .find(|line| line.contains("bad      graph"))
            .unwrap()
            .to_owned();
        assert_eq!(refused.status, 502);
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        for shown in [message, inspected, probed] {
            assert!(
                shown.contains(&address) && shown.contains("does not speak TLS: check the port"),
                "{upstream}: {shown}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_bound_is_named_with_what_sets_it_and_what_to_do() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let _held = TcpListener::bind(&taken);
    fs::write(dir.path().join("file"), "precious").unwrap();
    let unix = |name: &str| format!("unix:{}", dir.path().join(name).display());
    let in_use = "where another process listens; stop it";
    fs::write(dir.path().join("graphward.toml"), network_settings(&graph)).unwrap();
    for (args, setting, words) in [
        (&["serve", "--listen", &taken][..], "listen.proxy, --listen", in_use),
        (&["serve", "--admin", &taken], "listen.admin, --admin", in_use),
        (
            &["exec", "--listen", &taken, "--", "true"],
            "listen.proxy, --listen",
            in_use,
        ),
        (
            &["serve", "--listen", &unix("file")],
            "--listen",
            "which is a file; remove it",
        ),
        (
            &["serve", "--admin", &unix("no/such")],
            "--admin",
            "does not exist; create it",
        ),
        (
            &["serve", "--admin", "192.0.2.1:9"],
            "--admin",
            "is not an address of this machine",
        ),
        #[cfg(feature = "fake")]
        (
            &["fake-graph", "--listen", &taken, "--control", "127.0.0.1:0"],
            "--listen",
            in_use,
        ),
        #[cfg(feature = "fake")]
        (
            &["fake-graph", "--listen", "127.0.0.1:0", "--control", &taken],
            "--control",
            in_use,
        ),
    ] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        let shown = text(&output.stderr);
        let shown = shown
            .lines()
            .find(|line| line.starts_with("graphward: "))
            .unwrap_or(&shown);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {shown}");
        assert!(shown.starts_with("graphward: cannot listen on "), "{args:?}: {shown}");
        assert!(shown.contains(setting) && shown.contains(words), "{args:?}: {shown}");
    }
    let tenants = format!(
        "{}[token]\nsource = {{ file = \"token\" }}\n[tenants.acme]\nlisten = \"{taken}\"\nsource = {{ file = \"acme\" }}\n",
        network_settings(&graph)
    );
    fs::write(dir.path().join("graphward.toml"), tenants).unwrap();
    let output = graphward_command(dir.path(), &["serve"]).output().unwrap();
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(
        shown.contains(&format!("{taken} (tenants.acme.listen), {in_use}")),
        "{shown}"
    );
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_no_line_assigns_is_named_with_the_file_and_the_keys_that_resemble_it() {
    let _turn = together().await;
    let place = Place::new().await;
    let secret = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
    let lines = format!(
        "# hunter2\nDATABASE_URL=postgres://u:hunter2@db/app\nMETA_TOKEN={secret}\nWhatsapp_Token='{secret}'\n\
         {secret}=hunter2\nhunter2hunter2hunter2_TOKEN=1\n"
    );
    place.write(".env", &lines);
    place.configure("file = \".env\", key = \"WHATSAPP_TOKEN\"", "");
    let config = fs::read_to_string(place.dir.path().join("graphward.toml")).unwrap();
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    let env_file = place.dir.path().join(".env").display().to_string();
    let advice = async || {
        let status = get(sidecar.admin, "/admin/token-status").await.json();
        status["tenants"][0]["advice"].as_str().unwrap_or_default().to_owned()
    };
    wait_until("the source is read", async || advice().await.contains(&env_file)).await;
    let check = text(&place.run(&["check", "--offline"], "").stdout);
    let refused = Client::connect(sidecar.proxy).await.text("hello").await;
    let refused = text(&refused.body);
    let log = sidecar.stdout();
    let logged = log.lines().find(|line| line.contains("no line assigns")).unwrap();
    for shown in [&*advice().await, &check, &refused, logged] {
        for words in [
            env_file.as_str(),
            "no line assigns `WHATSAPP_TOKEN`",
            "but others assign `META_TOKEN`, `Whatsapp_Token`; add WHATSAPP_TOKEN=VALUE",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains("hunter2") && !shown.contains("DATABASE_URL"), "{shown}");
    }
    assert!(!advice().await.contains("store a new token"), "{}", advice().await);
    assert!(!log.contains("hunter2") && !log.contains("store a new token"), "{log}");
    // The same where another setting is a line of the file.
    place.configure(
        "file = \"token\"",
        "[check]\nphone_number_id = { file = \".env\", key = \"META_TOKN\" }\n",
    );
    let output = place.run(&["check", "--offline"], "");
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("no line assigns `META_TOKN`"), "{shown}");
    assert!(
        shown.contains("others assign `META_TOKEN`") && shown.contains(&env_file),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_file_that_is_not_there_is_named_with_what_to_do() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let refused = |mut command: Command| {
        let output = command.output().unwrap();
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        shown
    };
    let folder = format!("the configuration file `{}`: ", path("folder"));
    let name_a_file = "; name the file in it, such as graphward.toml";
    for args in [
        &["serve", "--config", "folder"][..],
        &["check", "--config", "folder"],
        &["token", "show", "--config", "folder"],
        &["print-config", "--config", "folder"],
        &["status", "--config", "folder"],
        &["send-test", "--to", "+15550100", "--config", "folder"],
    ] {
        let shown = refused(graphward_command(dir.path(), args));
        assert!(
            shown.contains(&folder) && shown.contains(name_a_file),
            "{args:?}: {shown}"
        );
    }
    let mut by_variable = graphward_command(dir.path(), &["serve"]);
    by_variable.env("GRAPHWARD_CONFIG", "folder");
    let shown = refused(by_variable);
    assert!(shown.contains(&folder) && shown.contains(name_a_file), "{shown}");
    let shown = refused(graphward_command(dir.path(), &["serve", "--config", "absent.toml"]));
    assert!(
        shown.contains(&path("absent.toml")) && shown.contains("; create it, or name another one"),
        "{shown}"
    );
    // Where one is looked for, a folder of this name is not one.
    fs::create_dir(dir.path().join("graphward.toml")).unwrap();
    let shown = refused(graphward_command(dir.path(), &["serve"]));
    assert!(
        shown.contains(&path("graphward.toml")) && shown.contains(name_a_file),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_a_configuration_file_says_where_it_looked() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let looked = format!("no configuration file: {}", dir.path().join("graphward.toml").display());
    // The machine may have one.
    let is_alone = !Path::new("/etc/graphward/graphward.toml").exists();
    for args in [&["check", "--offline"][..], &["print-config"]] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(shown.contains(&looked), is_alone, "{args:?}: {shown}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let _held = TcpListener::bind(&taken);
    // It ends at once, since the address is taken.
    let output = graphward_command(dir.path(), &["serve", "--listen", &taken])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout).contains(&looked), is_alone, "{output:?}");
}
