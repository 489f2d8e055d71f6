//! What passes between the command and the sidecar beside it: tunnels, and graphward's own commands.

use std::fs::{self, File};
use std::io::Read as _;

use super::{FIRST, UNUSED, directory, exec, run_script};
use crate::support::{Graph, block, fingerprint, terminal, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_another_origin_an_app_that_keeps_graphs_address_does_not_reach_graph() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let origin = format!("https://{}", graph.running.address);
    let script = "for host in graph.facebook.com GRAPH.instagram.com graph.threads.com api.instagram.com; do
            curl -sS -o /dev/null -w '%{http_connect} ' https://$host/v26.0/me
        done
        curl -sS -o /dev/null -w '%{http_code}' $GRAPHWARD_URL/v26.0/me";
    let mut command = exec(dir.path(), &["--origin", &origin, "--", "sh", "-c", script]);
    let stdout = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(stdout, "403 403 403 403 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_connect_to_an_app_that_keeps_graphs_address_reaches_the_fake() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let settings = block("docs/commands.md#One line instead of a sidecar container toml");
    let settings = settings.replace("127.0.0.1:8443", &graph.running.address.to_string());
    fs::write(dir.path().join("graphward.toml"), settings).unwrap();
    fs::copy(graph.ca(), dir.path().join("ca.pem")).unwrap();
    let script = "curl -sS -o /dev/null -w '%{http_connect} %{http_code}' -d messaging_product=whatsapp -d to=15550100199 \
                  -d type=text -d 'text={\"body\":\"hello\"}' https://graph.facebook.com/v26.0/106540352242922/messages";
    let mut command = exec(dir.path(), &["--token-file", "token", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "200 200");
    graph.assert_last_token(&fs::read_to_string(dir.path().join("token")).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_to_other_hosts_are_no_requests_of_the_app() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let script = format!(
        "curl -sS -o /dev/null -w '%{{http_connect}}\n' --noproxy '' --cacert {} https://{}/v26.0/me
        curl -sS $GRAPHWARD_ADMIN_URL/metrics | grep '^graphward_requests_total'",
        graph.ca().display(),
        graph.running.address
    );
    let output = run_script(dir.path(), &script);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let counted = [
        "200",
        r#"graphward_requests_total{tenant="default",outcome="delivered"} 0"#,
        r#"graphward_requests_total{tenant="default",outcome="tunnel_opened"} 1"#,
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), counted, "{stderr}");
    assert!(stderr.contains(UNUSED) && !stderr.contains(FIRST), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graphward_that_the_command_runs_finds_its_sidecar() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let (token, next) = (
        fs::read_to_string(dir.path().join("token")).unwrap(),
        graph.sim.issue(None),
    );
    fs::write(dir.path().join("next"), &next).unwrap();
    let script = "set -e
        $0 status
        $0 refresh
        $0 healthcheck
        $0 token set < next
        $0 send-test --to +15550100199 --phone-number-id 106540352242922
        ! $0 status --admin 127.0.0.1:1
        ! GRAPHWARD_ADMIN_URL=https://a $0 status";
    let output = exec(dir.path(), &["--", "sh", "-c", script, env!("CARGO_BIN_EXE_graphward")]).output();
    let output = output.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout} {stderr}");
    assert_eq!(stdout.matches(": serving, ready;").count(), 2, "{stdout}");
    for words in [
        fingerprint(&token).as_str(),
        "\nready\n",
        "by the sidecar at 127.0.0.1:",
        "Graph accepted the message to 15550100199",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout} {stderr}");
    }
    for words in [
        "cannot query the sidecar at 127.0.0.1:1;",
        "graphward: GRAPHWARD_ADMIN_URL: must not have a scheme",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    graph.assert_last_token(&next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_shows_the_addresses_before_the_command_starts() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let (controller, terminal) = terminal();
    let script = "echo proxy=$GRAPHWARD_URL admin=$GRAPHWARD_ADMIN_URL";
    let mut command = exec(dir.path(), &["--", "sh", "-c", script]);
    command.env("NO_COLOR", "1");
    command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut output = Vec::new();
    // The end of a terminal is an error.
    drop(File::from(controller).read_to_end(&mut output));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let output = String::from_utf8(output).unwrap();
    let line = |start: &str| {
        let mut lines = output.lines().enumerate();
        let (at, line) = lines
            .find(|(_, line)| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {output}"));
        (at, line.trim_end())
    };
    let (at, seen) = line("proxy=");
    let (proxy, admin) = seen.trim_start_matches("proxy=").split_once(" admin=").unwrap();
    let expected = [
        format!("address:    {proxy} instead of https://graph.facebook.com"),
        format!("admin:      {admin}"),
    ];
    for expected in expected {
        let (before, shown) = line(expected.split(':').next().unwrap());
        assert!(before < at && shown == expected, "{output}");
    }
    assert!(admin.starts_with("http://127.0.0.1:") && admin != proxy, "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_to_another_host_is_refused_if_other_machines_reach_the_listener() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let address = graph.running.address;
    let script = format!(
        "curl -sS --noproxy '' https://{address}/ 2>&1; curl -sS -o /dev/null -w '%{{http_code}}' $GRAPHWARD_URL/v26.0/me"
    );
    let mut command = exec(dir.path(), &["--listen", "0.0.0.0:0", "--", "sh", "-c", &script]);
    let stdout = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(stdout.contains("403") && stdout.ends_with("200"), "{stdout}");
}
