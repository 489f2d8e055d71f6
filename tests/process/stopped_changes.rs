//! Stops while the operator changes tokens: a change that has begun is completed, or it is said what is lost.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fake_graph::{Effect, EndpointKind, Fault};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::admin_changes::{Answer, LOCAL, document, send};
use crate::admin_sign_ups::code;
use crate::admin_tenants::STATEMENTS;
use crate::support::{Client, Graph, Sidecar, fingerprint, replace_file, settings, together, wait_until};
use crate::tenants_from::support::{Service, assert_is, issue, me, wait_until_started};

/// Does something at each change of the table, and notes that it has begun. The numbers of a sequence stay used when its
/// transaction fails.
fn at_each_change(statement: &str) -> String {
    format!(
        "CREATE SEQUENCE attempts;
        CREATE SEQUENCE released;
        CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM nextval('attempts');
            {statement};
            RETURN NEW;
        END $$;
        CREATE TRIGGER interfere BEFORE INSERT OR UPDATE ON tenant_whatsapp_config
            FOR EACH ROW EXECUTE FUNCTION interfere();"
    )
}

/// Waits until the test goes on. A sequence shows its value in each transaction at once.
const WAIT_FOR_RELEASE: &str = "WHILE NOT (SELECT is_called FROM released) LOOP PERFORM pg_sleep(0.05); END LOOP";

/// Waits in the same way, and fails the first two times.
fn fail_twice() -> String {
    let fail = "IF currval('attempts') <= 2 THEN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END IF";
    at_each_change(&format!("{WAIT_FOR_RELEASE}; {fail}"))
}

/// Begins the stop, and lets the stores go on once graphward drains.
async fn stop_during_stores(service: &Service, sidecar: &Sidecar) {
    sidecar.signal(Signal::TERM);
    wait_until("it drains", async || sidecar.stdout().contains("draining: ")).await;
    service.database.psql("SELECT nextval('released')");
}

/// Sends a change, whose answer may take a while.
fn start_change(admin: SocketAddr, request: &str, body: String) -> JoinHandle<Answer> {
    let request = request.to_owned();
    thread::spawn(move || send(admin, &request, LOCAL, &body))
}

fn start_sign_up(sidecar: &Sidecar, code: &str) -> JoinHandle<Answer> {
    let body = json!({ "code": code, "tenant": "acme" }).to_string();
    start_change(sidecar.admin, "POST /admin/signup", body)
}

/// Waits until so many stores have begun.
async fn wait_for_stores(service: &Service, count: u32) {
    wait_until("it is tried to store it", async || {
        let tried = format!("SELECT is_called AND last_value >= {count} FROM attempts");
        service.database.psql(&tried) == "t"
    })
    .await;
}

/// The number of rows of `acme`.
fn rows(service: &Service) -> String {
    let rows = "SELECT count(*) FROM tenant_whatsapp_config WHERE tenant_id = 'acme'";
    service.database.psql(rows)
}

/// Starts graphward again.
async fn start_again(dir: &TempDir) -> Sidecar {
    let config = fs::read_to_string(dir.path().join("graphward.toml")).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_whose_store_is_tried_again_is_completed_before_graphward_stops() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.database.psql(&fail_twice());
    let (dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(&service.graph, "acme", &["206"], None);
    let signed_up = start_sign_up(&sidecar, &code);
    wait_for_stores(&service, 1).await;
    stop_during_stores(&service, &sidecar).await;
    assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{}", sidecar.stdout());
    let answer = signed_up.join().unwrap();
    assert_eq!(answer.status, 200, "{} {}", answer.text, sidecar.stdout());
    assert_eq!(answer.json()["token"], fingerprint(&service.token_of("acme")).as_str());
    let draining = sidecar.log_events().into_iter().find(|event| event["changes"].is_u64());
    assert_eq!(draining.unwrap()["changes"], 1, "it says what it waits for");
    let again = start_again(&dir).await;
    assert_is(&me(&mut Client::connect(again.proxy).await, "acme").await, "acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_whose_client_has_left_is_completed_before_graphward_stops() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.database.psql(&fail_twice());
    let (_dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(&service.graph, "acme", &["206"], None);
    let body = json!({ "code": code, "tenant": "acme" }).to_string();
    let length = body.len();
    let head = format!("POST /admin/signup HTTP/1.1\r\n{LOCAL}Content-Length: {length}\r\n\r\n");
    let mut client = TcpStream::connect(sidecar.admin).await.unwrap();
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    wait_for_stores(&service, 1).await;
    drop(client);
    stop_during_stores(&service, &sidecar).await;
    assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{}", sidecar.stdout());
    assert_eq!(rows(&service), "1", "{}", sidecar.stdout());
    assert!(sidecar.stdout().contains("tenant_put"), "it is recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_whose_store_fails_until_the_end_is_in_the_log_before_graphward_stops() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let failure = at_each_change("RAISE EXCEPTION USING ERRCODE = 'serialization_failure'");
    service.database.psql(&failure);
    let (_dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(&service.graph, "acme", &["206"], None);
    let signed_up = start_sign_up(&sidecar, &code);
    wait_for_stores(&service, 1).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{}", sidecar.stdout());
    let answer = signed_up.join().unwrap();
    assert_eq!(answer.status, 503, "{} {}", answer.text, sidecar.stdout());
    let events = sidecar.log_events();
    let refused = events.iter().find(|event| event["tenant"] == "acme").unwrap();
    for told in [answer.message(), refused["reason"].as_str().unwrap().to_owned()] {
        for words in ["the tenant was not changed", "let the business sign up again"] {
            assert!(told.contains(words), "{told}");
        }
    }
    assert_eq!(rows(&service), "0");
    assert!(!sidecar.stdout().contains(&code) && !answer.text.contains(&code));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_that_a_second_signal_cuts_says_that_its_code_is_used_up() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.database.psql(&at_each_change("PERFORM pg_sleep(60)"));
    let (_dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(&service.graph, "acme", &["206"], None);
    let signed_up = start_sign_up(&sidecar, &code);
    wait_for_stores(&service, 1).await;
    sidecar.signal(Signal::TERM);
    wait_until("it says what the second signal does", async || {
        sidecar.stdout().contains("still draining")
    })
    .await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait_exit().await.code(), Some(1), "{}", sidecar.stdout());
    let answer = signed_up.join().unwrap();
    assert_eq!(answer.status, 503, "{} {}", answer.text, sidecar.stdout());
    let events = sidecar.log_events();
    let lost = events.iter().find(|event| event["level"] == "ERROR");
    let lost = lost.unwrap_or_else(|| panic!("{}", sidecar.stdout()));
    assert_eq!(lost["tenant"], "acme");
    for told in [answer.message(), lost["reason"].as_str().unwrap().to_owned()] {
        for words in ["graphward stopped before", "let the business sign up again"] {
            assert!(told.contains(words), "{told}");
        }
    }
    assert_eq!(rows(&service), "0");
    assert!(!sidecar.stdout().contains(&code) && !answer.text.contains(&code));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_comes_while_graphward_stops_is_not_sent_to_graph() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let graph = &service.graph;
    let (dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let code = code(graph, "acme", &["206"], None);
    graph.sim.fault(Fault::once(Effect::Hold));
    let mut client = Client::connect(sidecar.proxy).await;
    let stopping = async {
        wait_until("a request is in flight", async || graph.sim.attempts() == 1).await;
        sidecar.signal(Signal::TERM);
        wait_until("it drains", async || sidecar.stdout().contains("draining: ")).await;
        let refused = start_sign_up(&sidecar, &code).join().unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert!(refused.message().contains("was not sent to Graph"), "{}", refused.text);
        graph.sim.release_held(1);
    };
    let request = me(&mut client, "shop");
    let (response, ()) = futures_util::future::join(request, stopping).await;
    assert_eq!(response.status, 200);
    assert_eq!(sidecar.wait_exit().await.code(), Some(0));
    assert_eq!(graph.sim.counts().exchanges, 0);
    let again = start_again(&dir).await;
    let answer = start_sign_up(&again, &code).join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_being_put_and_one_that_is_being_withdrawn_are_so_before_graphward_stops() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    service.insert("next", "108", "208");
    service.database.psql(&at_each_change(WAIT_FOR_RELEASE));
    let (_dir, mut sidecar) = service.sidecar(STATEMENTS).await;
    let token = issue(&service.graph, "acme", &["106", "206"]);
    let body = json!({ "wabaId": "206", "phoneNumberId": "106", "accessToken": token });
    let put = start_change(sidecar.admin, "PUT /admin/tenants/acme", body.to_string());
    let withdrawal = start_change(sidecar.admin, "DELETE /admin/tenants/next", String::new());
    wait_for_stores(&service, 2).await;
    stop_during_stores(&service, &sidecar).await;
    assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{}", sidecar.stdout());
    for change in [put, withdrawal] {
        let answer = change.join().unwrap();
        assert_eq!(answer.status, 200, "{} {}", answer.text, sidecar.stdout());
    }
    assert_eq!(service.token_of("acme"), token);
    let active = "SELECT is_active FROM tenant_whatsapp_config WHERE tenant_id = 'next'";
    assert_eq!(service.database.psql(active), "f");
}

/// A token that is put while another process has locked its file, and the stop has begun.
struct LockedPut {
    dir: TempDir,
    sidecar: Sidecar,
    tokens: [String; 2],
    lock: File,
    put: JoinHandle<Answer>,
    _graph: Graph,
}

impl LockedPut {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let graph = Graph::start().await;
        let tokens = [graph.sim.issue(None), graph.sim.issue(None)];
        replace_file(&dir.path().join("token"), &tokens[0]);
        let config = settings(&graph, "file = \"token\"", "[state]\ndir = \"state\"\n");
        let sidecar = Sidecar::start(dir.path(), &config).await;
        sidecar.wait_until_uses(&graph, &tokens[0]).await;
        let lock = File::create(dir.path().join("token.lock")).unwrap();
        lock.lock().unwrap();
        let inspections = graph.sim.counts().inspections;
        let put = start_change(sidecar.admin, "PUT /admin/token?force=yes", document(&tokens[1]));
        wait_until("Graph is asked about the token", async || {
            graph.sim.counts().inspections > inspections
        })
        .await;
        sidecar.signal(Signal::TERM);
        Self {
            dir,
            sidecar,
            tokens,
            lock,
            put,
            _graph: graph,
        }
    }

    fn stored(&self) -> String {
        fs::read_to_string(self.dir.path().join("token")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_file_is_locked_by_another_process_is_stored_before_graphward_stops() {
    let _turn = together().await;
    let mut locked = LockedPut::start().await;
    // Longer than a renewal is waited for.
    sleep(Duration::from_secs(5)).await;
    fs::remove_file(locked.dir.path().join("token.lock")).unwrap();
    locked.lock.unlock().unwrap();
    let exit = locked.sidecar.wait_exit().await;
    assert_eq!(exit.code(), Some(0), "{}", locked.sidecar.stdout());
    let stored = locked.stored();
    let answer = locked.put.join().unwrap();
    assert_eq!(answer.status, 200, "{} {}", answer.text, locked.sidecar.stdout());
    assert_eq!(stored.trim(), locked.tokens[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_a_second_signal_keeps_from_being_stored_is_an_error_in_the_log() {
    let _turn = together().await;
    let mut locked = LockedPut::start().await;
    let sidecar = &mut locked.sidecar;
    wait_until("it says what the second signal does", async || {
        sidecar.stdout().contains("still draining")
    })
    .await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait_exit().await.code(), Some(1), "{}", sidecar.stdout());
    let logged = sidecar.stdout();
    let error = sidecar.log_events().into_iter().find(|event| event["level"] == "ERROR");
    let error = error.unwrap_or_else(|| panic!("{logged}"));
    assert_eq!(error["tenant"], "default");
    let stored = locked.stored();
    let answer = locked.put.join().unwrap();
    for told in [answer.message(), error["reason"].as_str().unwrap().to_owned()] {
        assert!(told.contains("look at the status before another attempt"), "{told}");
    }
    assert_eq!((answer.status, stored.trim()), (503, locked.tokens[0].as_str()));
    for token in &locked.tokens {
        assert!(!logged.contains(token) && !answer.text.contains(token), "{logged}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_of_a_tenant_that_a_reload_has_closed_is_completed_before_graphward_stops() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = service.insert("shop", "107", "207");
    service.graph.set_due_for_hours(&old);
    service.set("shop", "expires_at = now() + interval '6 seconds'");
    let held = Fault::once(Effect::Hold);
    service.graph.sim.inject_fault_on(EndpointKind::Exchange, held);
    let (_dir, mut sidecar) = service.sidecar("[token]\nrenew = { exchange = {} }\n").await;
    wait_until("it renews", async || service.graph.sim.counts().exchanges == 1).await;
    sidecar.signal(Signal::HUP);
    wait_until("it has reloaded", async || {
        sidecar.stdout().contains("reloaded the configuration")
    })
    .await;
    sidecar.signal(Signal::TERM);
    wait_until("it is stopping", async || {
        TcpStream::connect(sidecar.proxy).await.is_err()
    })
    .await;
    // Longer than the admin listener is waited for, and shorter than a renewal.
    sleep(Duration::from_millis(700)).await;
    service.graph.sim.release_held(1);
    assert!(sidecar.wait_exit().await.success(), "{}", sidecar.stdout());
    let stored = service.token_of("shop");
    assert!(stored != old && service.graph.sim.is_alive(&stored));
}
