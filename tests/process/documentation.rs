//! The commands of the pages in `docs/` and `config/`, as they are written, on free ports and against a fake Graph. `readme.rs` has
//! those of the README, `fake_graph.rs` those of the fake Graph, and `packaging/check` those of an installed package;
//! `documented_settings.rs` has the configurations.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use fake_graph::CodeRequest;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::postgres::server::Database;
use crate::support::place::{APP, targets};
use crate::support::{APP_SECRET, Client, Graph, Shell, Sidecar, block, fingerprint, network_settings, settings};
use crate::support::{together, wait_until};
use crate::tenants_from::support::TABLE;

/// A command with the addresses of this sidecar in place of the usual ones.
fn at(sidecar: &Sidecar, command: &str) -> String {
    command
        .replace("127.0.0.1:8080", &sidecar.proxy.to_string())
        .replace("127.0.0.1:9080", &sidecar.admin.to_string())
}

/// Runs a block of `curl` lines, and returns the answers, which are JSON.
fn answers(shell: &Shell, commands: &str) -> Vec<Value> {
    let printed = shell.run(commands, "");
    let answers: Result<_, _> = serde_json::Deserializer::from_str(&printed).into_iter().collect();
    answers.unwrap_or_else(|error| panic!("{commands}: {error}: {printed}"))
}

/// The JSON of a comment in a block, with this in place of a secret's placeholder.
fn body_in(commands: &str, placeholder: &str, secret: &str) -> String {
    let (_, body) = commands.split_once("# {").unwrap();
    let body = format!("{{{}", body.lines().next().unwrap());
    assert!(body.contains(placeholder), "{body}");
    body.replace(placeholder, secret)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_the_page_about_the_admin_listener_are_answered() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::in_front_of(&graph);
    shell.write("token", &graph.sim.issue(None));
    shell.write("secret", APP_SECRET);
    let database = Database::with(TABLE);
    shell.write("url", &database.url());
    let table = block("docs/admin.md#Tenants toml").replace("/run/graphward/database-url", "url");
    let extra = format!("{APP}{table}\n");
    let settings = settings(&graph, "file = \"token\"", &extra);
    let sidecar = Sidecar::start_with(shell.path(), &settings, &mut shell.command("exec graphward serve")).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;

    let commands = at(&sidecar, &block("docs/admin.md#The status of the tokens sh"));
    assert_eq!(answers(&shell, &commands)[0]["tenants"][0]["tenant"], "default");
    let commands = at(&sidecar, &block("docs/admin.md#Events sh"));
    assert_eq!(answers(&shell, &commands)[0]["events"][0]["kind"], "loaded");

    let commands = at(&sidecar, &block("docs/admin.md#Tenants sh"));
    let token = graph.sim.issue(None);
    shell.write("acme.json", &body_in(&commands, "EAAG…", &token));
    let [put, deleted] = &answers(&shell, &commands)[..] else {
        panic!("the block has other lines");
    };
    assert_eq!(
        (&put["tenant"], &put["token"]),
        (&"acme".into(), &fingerprint(&token).into())
    );
    assert!(deleted.get("error").is_none(), "{deleted}");

    let sign_up = at(&sidecar, &block("docs/admin.md#Tenants sh 2"));
    graph.sim.set_phone_numbers("206", &["106"]);
    let code = graph.sim.issue_code(CodeRequest {
        token: targets("206"),
        ..CodeRequest::default()
    });
    shell.write("signup.json", &body_in(&sign_up, "AQB…", &code));
    assert_eq!(answers(&shell, &sign_up)[0]["wabaId"], "206");
    assert_eq!(
        database.psql("SELECT waba_id, phone_number_id FROM tenant_whatsapp_config WHERE is_active"),
        "206|106"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_changed_and_restored_by_the_commands_and_by_the_requests() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let tokens = [(); 3].map(|()| graph.sim.issue(None));
    let shell = Shell::in_front_of(&graph);
    shell.write("token", &tokens[0]);
    let settings = settings(&graph, "file = \"token\"", "[state]\ndir = \"state\"\n");
    let sidecar = Sidecar::start_with(shell.path(), &settings, &mut shell.command("exec graphward serve")).await;
    sidecar.wait_until_uses(&graph, &tokens[0]).await;
    let shell = shell.with("GRAPHWARD_ADMIN", sidecar.admin.to_string());
    let commands =
        block("docs/token-sources.md#Changing the token sh").replace("/etc/graphward/graphward.toml", "graphward.toml");
    let [set, roll_back] = commands.lines().collect::<Vec<_>>()[..] else {
        panic!("the block has other lines");
    };
    shell.write("token.txt", &tokens[1]);
    shell.run(set, "");
    sidecar.wait_until_uses(&graph, &tokens[1]).await;
    shell.run(roll_back, "");
    sidecar.wait_until_uses(&graph, &tokens[0]).await;

    let requests = at(&sidecar, &block("docs/token-sources.md#Changing the token sh 2"));
    shell.write("token.json", &body_in(&requests, "EAAG…", &tokens[2]));
    let (put, rest) = requests.split_once('\n').unwrap();
    assert_eq!(answers(&shell, put)[0]["token"], fingerprint(&tokens[2]).as_str());
    sidecar.wait_until_uses(&graph, &tokens[2]).await;
    let [rolled_back, looked] = &answers(&shell, rest)[..] else {
        panic!("the block has other lines");
    };
    assert_eq!(rolled_back["token"], fingerprint(&tokens[0]).as_str());
    assert_eq!(looked["tenants"][0]["fingerprint"], fingerprint(&tokens[0]).as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_for_a_running_sidecar_and_those_that_print_succeed() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::in_front_of(&graph);
    shell.write("token", &graph.sim.issue(None));
    let settings = settings(
        &graph,
        "file = \"token\"",
        "[tenants.acme]\nsource = { file = \"token\" }\n",
    );
    let sidecar = Sidecar::start_with(shell.path(), &settings, &mut shell.command("exec graphward serve")).await;
    wait_until("it has looked", async || {
        sidecar.stdout().matches("using a new token").count() == 2
    })
    .await;
    let shell = shell
        .with("GRAPHWARD_ADMIN", sidecar.admin.to_string())
        .with("GRAPHWARD_LISTEN", sidecar.proxy.to_string());
    let printed = shell.run(&block("docs/commands.md#A running sidecar sh"), "");
    assert!(printed.contains("acme") && printed.contains("default"), "{printed}");
    assert_eq!(graph.sim.accepted_messages().len(), 1, "{printed}");

    let printed = shell.run(&block("docs/commands.md#Which value applies sh"), "");
    assert!(printed.contains("acme = { source"), "{printed}");
    let folder = format!("{}/", shell.path().display());
    let commands = block("docs/commands.md#Completions and the manual sh");
    let commands = commands
        .replace("/usr/", &folder)
        .replace("/etc/", &format!("{folder}etc/"));
    fs::create_dir_all(shell.path().join("etc/bash_completion.d")).unwrap();
    shell.run(&commands, "");
    for file in ["etc/bash_completion.d/graphward", "local/share/man/man1/graphward.1"] {
        assert!(shell.path().join(file).exists(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_started_by_each_line_that_starts_one() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::in_front_of(&graph);
    shell.write("token", &graph.sim.issue(None));
    shell.write("graphward.toml", "[token]\nsource = { file = \"token\" }\n");
    let call = "exec curl -sS \"$GRAPHWARD_URL/v25.0/me\"";
    shell.write_program(
        "npm",
        &format!("case \"$*\" in 'run dev' | start) {call} ;; *) exit 1 ;; esac"),
    );
    shell.write_program("python", &format!("[ \"$*\" = run_server.py ] && {call}"));
    shell.write_program(
        "gunicorn",
        "[ \"$* $WHATSAPP_TOKEN\" = 'app:app unused' ] && exec curl -sS \"$WHATSAPP_API_URL/me\"",
    );
    let lines = block("docs/commands.md#One line instead of a sidecar container sh");
    let of_recipe = block("docs/recipes.md#Render, Heroku and other platforms without files sh");
    let lines: BTreeSet<_> = lines.lines().chain(of_recipe.lines()).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        let answer = shell.run(line, "");
        assert!(answer.contains("\"id\""), "{line}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_insist_on_https_go_through_the_proxy_with_the_variables_of_the_recipes() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = Shell::new()
        .with("GRAPHWARD_LISTEN", "127.0.0.1:0")
        .with("GRAPHWARD_ADMIN", "127.0.0.1:0");
    shell.run(&block("docs/clients.md#Clients that insist on https sh"), "");
    shell.write("token", &graph.sim.issue(None));
    let settings = settings(&graph, "file = \"token\"", "");
    let (_, settings) = settings.split_once("[upstream]").unwrap();
    let settings = block("docs/clients.md#Clients that insist on https toml") + "\n[upstream]" + settings;
    let sidecar = Sidecar::start_with(shell.path(), &settings, &mut shell.command("exec graphward serve")).await;
    let call = "curl -sS --cacert \"$SSL_CERT_FILE\" https://graph.facebook.com/v25.0/me";
    shell.write_program("ruby", &format!("[ \"$*\" = app.rb ] && exec {call}"));
    let ruby = at(&sidecar, &block("config/clients/README.md#Ruby sh"));
    let variables = block("config/clients/README.md#Anything else: graphward as an HTTPS proxy sh");
    let variables = at(&sidecar, &variables);
    let folder = shell.path().join("run").display().to_string();
    // The certificate that graphward serves is the first one.
    let variables = variables
        .replace("graphward ca --out /run/graphward ", "ln -s pki run")
        .replace("/run/graphward", &folder);
    for script in [ruby, format!("{variables}\n{call}")] {
        let answer = shell.run(&script, "");
        assert!(answer.contains("\"id\""), "{script}: {answer}");
    }
}

/// The recipes that read a file, a command or a service. `documented_settings.rs` has those that read a table.
const RECIPES: [&str; 7] = [
    "docs/recipes.md#HashiCorp Vault toml",
    "docs/recipes.md#HashiCorp Vault toml 2",
    "docs/recipes.md#AWS Secrets Manager toml",
    "docs/recipes.md#AWS Secrets Manager toml 2",
    "docs/recipes.md#Google Secret Manager toml",
    "docs/recipes.md#1Password and Doppler toml",
    "docs/recipes.md#1Password and Doppler toml 2",
];

/// The tables, lists and texts of TOML.
fn as_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Array(items) => items.iter().map(|item| as_json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let fields = table.iter();
            fields
                .map(|(key, value)| (key.get_ref().to_string(), as_json(value.get_ref())))
                .collect()
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => Value::Null,
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// A secret as its store answers, which the pointer of the source leads to.
fn answer_of_store(source: &Value, token: &str) -> String {
    match source["pointer"].as_str() {
        None => token.to_owned(),
        Some("/access_token") => json!({ "access_token": token }).to_string(),
        Some("/SecretString/access_token") => {
            json!({ "Name": "prod/whatsapp", "SecretString": json!({ "access_token": token }).to_string() }).to_string()
        }
        Some(other) => panic!("no store answers with {other}"),
    }
}

/// Answers each request that has this in its head with this text.
pub(crate) fn serve(header: String, answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head, mut byte) = (stream.unwrap(), Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .map_or("0", |rest| rest.lines().next().unwrap());
            stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
            let status = if head.contains(&header) {
                "200 OK"
            } else {
                "403 Forbidden"
            };
            let length = answer.len();
            let response =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
            drop(stream.write_all(response.as_bytes()));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_each_recipe_reaches_graph() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let mut tried = Vec::new();
    for name in RECIPES {
        let recipe = &block(name);
        let table = DeTable::parse(recipe).unwrap().into_inner();
        let source = &as_json(&DeValue::Table(table))["token"]["source"];
        let token = graph.sim.issue(None);
        let answer = answer_of_store(source, &token);
        let mut shell = Shell::new().with("ANOTHER_SECRET", "hunter2");
        let folder = shell.path().display().to_string();
        let mut recipe = recipe.replace("/run", &folder);
        if let [program, arguments @ ..] = &texts(&source["exec"])[..] {
            let kept = texts(&source["keep_env"]);
            // It gets the variables that the recipe names, and no other.
            let named = kept.iter().map(|name| format!("[ \"${name}\" = \"of {name}\" ] && "));
            let conditions: String = named.collect();
            let script = format!(
                "[ \"$*\" = '{}' ] && {conditions}[ -z \"$ANOTHER_SECRET\" ] && echo '{answer}'",
                arguments.join(" ")
            );
            shell.write_program(program, &script);
            for name in kept {
                let value = format!("of {name}");
                shell = shell.with(name, value);
            }
            tried.push(program.clone());
        } else if let Some(url) = source["http"].as_str() {
            shell.write("awssmatoken", "a-nonce");
            let address = serve("x-aws-parameters-secrets-token: a-nonce".to_owned(), answer);
            let (_, rest) = url.split_once("://").unwrap();
            recipe = recipe.replace(rest.split('/').next().unwrap(), &address.to_string());
            tried.push("http".to_owned());
        } else {
            assert!(source["file"].is_string(), "{recipe}");
            fs::create_dir(shell.path().join("graphward")).unwrap();
            shell.write("graphward/token", &answer);
            tried.push("file".to_owned());
        }
        let settings = network_settings(&graph) + &recipe;
        let sidecar = Sidecar::start_with(shell.path(), &settings, &mut shell.command("exec graphward serve")).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_eq!(client.text("hello").await.status, 200, "{recipe}: {}", sidecar.stdout());
        graph.assert_last_token(&token);
    }
    assert_eq!(tried, ["file", "vault", "http", "aws", "gcloud", "op", "doppler"]);
}
