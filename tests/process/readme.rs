//! The first hour of a new user: what the README says, word for word, on free ports and against a fake Graph.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::support::{Graph, Shell, Sidecar, block, fingerprint, get, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_first_token_to_a_replaced_one() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::in_front_of(&graph);
    let commands = block("README.md#Your own token sh");
    let [paste, serve, call] = commands.lines().collect::<Vec<_>>()[..] else {
        panic!("the block has other lines");
    };
    let first = graph.sim.issue(None);
    shell.run(paste, &format!("{first}\n"));
    let mode = fs::metadata(shell.path().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut sidecar = Sidecar::start_with(shell.path(), "", &mut shell.command(&format!("exec {serve}"))).await;

    let call = call.replace("127.0.0.1:8080", &sidecar.proxy.to_string());
    assert!(call.starts_with("curl http://127.0.0.1:"), "{call}");
    let answer = shell.run(&call, "");
    assert!(answer.contains("\"id\""), "{answer}");
    assert_eq!(graph.last_data_fingerprint(), Some(fingerprint(&first)));
    let page = get(sidecar.admin, "/").await;
    assert_eq!(page.status, 200);

    graph.sim.expire(&first);
    let second = graph.sim.issue(None);
    shell.run(paste, &format!("{second}\n"));
    wait_until("the second token is in use", async || {
        shell.run(&call, "");
        graph.last_data_fingerprint() == Some(fingerprint(&second))
    })
    .await;
    sidecar.signal(Signal::INT);
    assert!(sidecar.wait_exit().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_env_file_serves_an_app_that_graphward_starts() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::in_front_of(&graph);
    let token = graph.sim.issue(None);
    shell.write_program("npm", "[ \"$*\" = 'run dev' ] && curl -sS \"$GRAPHWARD_URL/v25.0/me\"");
    shell.write(
        ".env",
        &format!("NODE_ENV=development\nWHATSAPP_ACCESS_TOKEN=\"{token}\"\n"),
    );
    shell.write("graphward.toml", &block("README.md#Your `.env` as it is toml"));
    let answer = shell.run("graphward exec -- npm run dev", "");
    assert!(answer.contains("\"id\""), "{answer}");
    assert_eq!(graph.last_data_fingerprint(), Some(fingerprint(&token)));
}
