use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use schemars::generate::SchemaSettings;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::super::decode::Format;
use super::super::exec::CommandConfig;
use super::super::tenant_table::TenantRow;
use super::*;
use crate::net::HttpClientError;
use crate::types::TenantId;

const SECRET: &str = "EAAGm0PX4ZCpsBAKZA";

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn http_config(url: &str) -> TenantHttpConfig {
    serde_json::from_value(json!({ "http": url, "pointer": "/accessToken", "timeout": { "secs": 5, "nanos": 0 } }))
        .unwrap()
}

fn exec_config(argv: &[&str]) -> TenantExecConfig {
    TenantExecConfig {
        command: CommandConfig {
            argv: argv.iter().map(|part| (*part).to_owned()).collect(),
            format: Format::Raw,
            timeout: Duration::from_secs(60),
            keep_env: Vec::new(),
        },
        poll_interval: Duration::from_secs(300),
    }
}

fn command(script: &str) -> Arc<dyn TenantRows> {
    let config = exec_config(&["sh", "-c", script, "sh", "{tenant}"]);
    TenantTemplate::exec(&config, Clock::system()).rows()
}

fn shown(row: Result<Option<TenantRow>, ObtainError>) -> Option<String> {
    let row = row.unwrap()?;
    let token = row.token.as_ref();
    let token = token.map_or_else(|error| error.reason(), |token| token.secret.expose());
    Some(format!("{}={token}", row.id))
}

#[test]
fn the_schema_says_where_the_name_may_stand() {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = settings
        .into_generator()
        .into_root_schema_for::<TenantHttpConfig>()
        .to_value();
    assert_eq!(schema["properties"]["http"]["format"], "tenant-url");
    assert_eq!(schema["properties"]["http"]["type"], "string");
    assert_eq!(schema["required"], json!(["http"]));
    assert_eq!(schema["additionalProperties"], false);
    let config = json!({ "http": "http://{tenant}/token" });
    let error = serde_json::from_value::<TenantHttpConfig>(config).unwrap_err();
    assert!(error.to_string().contains("outside of the path"), "{error}");
}

#[test]
fn the_name_of_the_tenant_must_stand_somewhere_and_not_in_the_program() {
    let build = |url: &str, headers: HeaderMap| {
        let client = HttpClient::from_fn(|_request| pending(), Duration::from_secs(5));
        TenantTemplate::http(&http_config(url), headers, client, Clock::system()).err()
    };
    let mut headers = HeaderMap::new();
    assert_eq!(build("https://tenants/{tenant}", headers.clone()), None);
    assert_eq!(
        build("https://tenants/token", headers.clone()),
        Some(TenantTemplateError::NoPlaceholder)
    );
    headers.insert("x-tenant-id", HeaderValue::from_static("{tenant}"));
    assert_eq!(build("https://tenants/token", headers), None);
    let exec = |argv: &[&str]| exec_config(argv).check().err();
    assert_eq!(exec(&["vault-token", "--", "{tenant}"]), None);
    assert_eq!(exec(&["vault-token", "path={tenant}/meta"]), None);
    assert_eq!(exec(&["vault-token", "acme"]), Some(TenantTemplateError::NoPlaceholder));
    assert_eq!(exec(&[]), Some(TenantTemplateError::NoPlaceholder));
    assert_eq!(
        exec(&["/opt/{tenant}", "{tenant}"]),
        Some(TenantTemplateError::InProgram)
    );
    assert!(
        TenantTemplateError::NoPlaceholder
            .to_string()
            .starts_with("{tenant} is missing")
    );
}

#[tokio::test]
async fn a_template_lists_nothing_and_reads_again_from_time_to_time() {
    let mut template = TenantTemplate::exec(&exec_config(&["cat", "{tenant}"]), Clock::system());
    assert!(template.read().await.unwrap().is_none());
    assert!(timeout(Duration::from_millis(20), template.changed()).await.is_err());
    let rows = template.rows();
    assert_eq!(rows.poll_interval(), Some(Duration::from_secs(300)));
    assert_eq!(rows.look_interval(), Duration::from_secs(10));
    assert_eq!(rows.describe(&tenant("acme")), "command cat, tenant acme");
    assert!(rows.check_writable(&tenant("acme")).unwrap_err().contains("read-only"));
    assert!(rows.lock(&tenant("acme")).await.unwrap().is_uncontended());
}

/// A service whose answers take as long as a test says, and the most that it was asked at the same time.
#[derive(Clone, Default)]
struct SlowService {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    takes: Arc<Mutex<Duration>>,
}

/// Counts a call until it ends, in whatever way.
struct RunningCall(Arc<AtomicUsize>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SlowService {
    fn taking(takes: Duration) -> Self {
        let service = Self::default();
        service.set(takes);
        service
    }

    fn set(&self, takes: Duration) {
        *self.takes.lock().unwrap() = takes;
    }

    /// Rows of this service. Names that begin with `slow` take an hour.
    fn rows(&self) -> Arc<dyn TenantRows> {
        let service = self.clone();
        let client = HttpClient::from_fn(move |request| service.clone().answer(request), Duration::from_secs(5));
        let config = http_config("https://tenants/t/{tenant}");
        let template = TenantTemplate::http(&config, HeaderMap::new(), client, Clock::system());
        template.unwrap().rows()
    }

    async fn answer(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpClientError> {
        let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let takes = *self.takes.lock().unwrap();
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = RunningCall(self.running);
        self.most.fetch_max(running, Ordering::SeqCst);
        let is_slow = name.starts_with("slow");
        sleep(if is_slow { Duration::from_secs(3_600) } else { takes }).await;
        let answer = json!({ "accessToken": format!("EAA{name}") });
        Ok(Response::new(answer.to_string().into()))
    }
}

/// Reads the rows of these tenants, all at the same time.
async fn read_all(rows: &Arc<dyn TenantRows>, names: &[TenantId]) -> Vec<Result<Option<TenantRow>, ObtainError>> {
    join_all(names.iter().map(|name| rows.read_row(name))).await
}

fn numbered(prefix: &str, count: usize) -> Vec<TenantId> {
    (0..count).map(|number| tenant(&format!("{prefix}{number}"))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_few_calls_of_the_service_run_at_the_same_time_and_the_others_wait_for_a_while() {
    let service = SlowService::taking(Duration::from_millis(100));
    let (rows, names) = (service.rows(), numbered("t", 64));
    let started_at = Instant::now();
    for (number, row) in read_all(&rows, &names).await.into_iter().enumerate() {
        assert_eq!(shown(row), Some(format!("t{number}=EAAt{number}")));
    }
    assert_eq!(started_at.elapsed().as_millis() / 10, 40);
    assert_eq!(service.most.load(Ordering::SeqCst), 16);
    // A service that hangs: the first end by the limit of a call, and those that did not begin by then are told so.
    service.set(Duration::from_secs(3_600));
    let started_at = Instant::now();
    let read = read_all(&rows, &names).await;
    let took = started_at.elapsed();
    assert!(took <= Duration::from_secs(11), "{took:?}");
    for row in read {
        let error = row.unwrap_err();
        assert!(
            matches!(error.reason(), "timeout" | "busy") && error.is_transient(),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn slow_tenants_hold_up_a_new_one_only_until_they_are_known_to_be_slow() {
    let rows = SlowService::taking(Duration::from_millis(100)).rows();
    let (slow, known) = (numbered("slow", 64), tenant("known"));
    assert_eq!(shown(rows.read_row(&known).await).unwrap(), "known=EAAknown");
    let others = async {
        sleep(Duration::from_millis(1)).await;
        let started_at = Instant::now();
        // One that is known does not wait, and a new one as long as it takes to find out which ones are slow.
        assert_eq!(shown(rows.read_row(&known).await).unwrap(), "known=EAAknown");
        assert_eq!(started_at.elapsed().as_millis() / 10, 10);
        assert_eq!(shown(rows.read_row(&tenant("new")).await).unwrap(), "new=EAAnew");
        let took = started_at.elapsed().as_millis();
        assert!((590..620).contains(&took), "{took}");
    };
    let (storm, ()) = tokio::join!(read_all(&rows, &slow), others);
    assert!(storm.iter().all(Result::is_err));
    // Those that are known to be slow take no place of a new one.
    let newer = async {
        sleep(Duration::from_millis(1)).await;
        let started_at = Instant::now();
        assert_eq!(shown(rows.read_row(&tenant("newer")).await).unwrap(), "newer=EAAnewer");
        assert_eq!(started_at.elapsed().as_millis() / 10, 10);
    };
    tokio::join!(read_all(&rows, &slow), newer);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_slow_for_all_serves_all_and_is_asked_by_few_at_the_same_time() {
    let service = SlowService::taking(Duration::from_millis(900));
    let (rows, names) = (service.rows(), numbered("t", 64));
    for _ in 0..2 {
        let read = read_all(&rows, &names).await;
        assert!(read.iter().all(Result::is_ok), "{read:?}");
        assert!(service.most.load(Ordering::SeqCst) <= 32);
    }
    // It is quick again, and so are its tenants.
    service.set(Duration::from_millis(100));
    read_all(&rows, &names).await;
    let slow = numbered("slow", 64);
    let known = async {
        let started_at = Instant::now();
        assert!(read_all(&rows, &names[..16]).await.iter().all(Result::is_ok));
        assert_eq!(started_at.elapsed().as_millis() / 10, 10);
    };
    tokio::join!(read_all(&rows, &slow), known);
}

#[tokio::test]
async fn a_command_gets_the_name_as_an_argument_and_prints_the_token() {
    let rows = command("echo EAA$1");
    assert_eq!(shown(rows.read_row(&tenant("acme")).await).unwrap(), "acme=EAAacme");
    // No shell reads the name, and no option is made of it.
    for name in ["-n", "--help", "a..b", "@file"] {
        assert_eq!(
            shown(rows.read_row(&tenant(name)).await).unwrap(),
            format!("{name}=invalid_name")
        );
    }
    let part = exec_config(&["printf", "%s", "EAAof{tenant}x{tenant}"]);
    let rows = TenantTemplate::exec(&part, Clock::system()).rows();
    assert_eq!(
        shown(rows.read_row(&tenant("Acme.7_")).await).unwrap(),
        "Acme.7_=EAAofAcme.7_xAcme.7_"
    );
}

#[tokio::test]
async fn a_command_that_fails_says_nothing_about_the_tenant_and_shows_no_secret() {
    for (script, reason) in [
        (format!("echo {SECRET}; exit 4"), "exit_status"),
        (String::new(), "empty"),
        (format!("echo '<{SECRET}>'"), "placeholder"),
    ] {
        let rows = command(&script);
        let error = rows.read_row(&tenant("acme")).await.unwrap_err();
        assert_eq!(error.reason(), reason);
        let text = format!("{error} {error:?} {rows:?} {}", rows.describe(&tenant("acme")));
        assert!(!text.contains(SECRET), "{text}");
    }
    let mut config = exec_config(&["printf", "%s", r#"{"of":"{tenant}","token":null}"#]);
    config.command.format = Format::Pointer("/token".to_owned());
    let rows = TenantTemplate::exec(&config, Clock::system()).rows();
    assert_eq!(shown(rows.read_row(&tenant("acme")).await).unwrap(), "acme=null");
}

#[tokio::test]
async fn four_commands_run_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    // Each leaves a file while it runs, and prints how many there were.
    let script = format!(
        "cd {} && : > $1 && sleep 0.2 && ls | wc -l >&2 && echo EAA$(ls | wc -l)x$1 && rm $1",
        dir.path().display()
    );
    let rows = command(&script);
    let names: Vec<_> = (0..12).map(|number| tenant(&format!("t{number}"))).collect();
    let read = join_all(names.iter().map(|name| rows.read_row(name))).await;
    for row in read {
        let row = shown(row).unwrap();
        let count = row.split_once("=EAA").unwrap().1.split_once('x').unwrap().0;
        assert!((1..=4).contains(&count.parse::<u32>().unwrap()), "{row}");
    }
}

#[tokio::test]
async fn commands_that_hang_hold_up_no_tenant_that_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let rows = command(&format!(
        "case $1 in slow*) : > {}/$1; sleep 600;; esac; echo EAA$1",
        dir.path().display()
    ));
    let known = tenant("known");
    let expected = "known=EAAknown";
    assert_eq!(shown(rows.read_row(&known).await).unwrap(), expected);
    let slow = numbered("slow", 4);
    let all_run = async {
        while std::fs::read_dir(dir.path()).unwrap().count() < slow.len() {
            sleep(Duration::from_millis(10)).await;
        }
        shown(rows.read_row(&known).await).unwrap()
    };
    tokio::select! {
        read = read_all(&rows, &slow) => panic!("{read:?}"),
        row = all_run => assert_eq!(row, expected),
    }
}

#[tokio::test]
async fn a_run_that_is_given_up_gives_its_place_back() {
    let dir = tempfile::tempdir().unwrap();
    let hang = dir.path().join("hang");
    std::fs::write(&hang, "").unwrap();
    let rows = command(&format!("[ -e {} ] && sleep 600; echo EAA$1", hang.display()));
    let names = ["a", "b", "c", "d"].map(tenant);
    let all = join_all(names.iter().map(|name| rows.read_row(name)));
    assert!(timeout(Duration::from_millis(300), all).await.is_err());
    std::fs::remove_file(&hang).unwrap();
    for name in &names {
        assert_eq!(shown(rows.read_row(name).await).unwrap(), format!("{name}=EAA{name}"));
    }
}
