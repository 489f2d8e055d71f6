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
    TenantTemplate::exec(&config, Clock::system()).unwrap().rows()
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
    let exec = |argv: &[&str]| TenantTemplate::exec(&exec_config(argv), Clock::system()).err();
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
    let mut template = TenantTemplate::exec(&exec_config(&["cat", "{tenant}"]), Clock::system()).unwrap();
    assert!(template.read().await.unwrap().is_none());
    assert!(timeout(Duration::from_millis(20), template.changed()).await.is_err());
    let rows = template.rows();
    assert_eq!(rows.poll_interval(), Some(Duration::from_secs(300)));
    assert_eq!(rows.describe(&tenant("acme")), "command cat, tenant acme");
    assert!(rows.check_writable(&tenant("acme")).unwrap_err().contains("read-only"));
    assert!(rows.lock(&tenant("acme")).await.unwrap().is_uncontended());
}

#[tokio::test(start_paused = true)]
async fn a_few_calls_of_the_service_run_at_the_same_time_and_the_others_wait_for_a_while() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let duration = Arc::new(Mutex::new(Duration::from_secs(1)));
    let (now, peak, takes) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&duration));
    let answer = move |request: Request<Bytes>| {
        let (now, peak, takes) = (Arc::clone(&now), Arc::clone(&peak), *takes.lock().unwrap());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(takes).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
            Ok(Response::new(
                json!({ "accessToken": format!("EAA{name}") }).to_string().into(),
            ))
        }
    };
    let client = HttpClient::from_fn(answer, Duration::from_secs(5));
    let config = http_config("https://tenants/t/{tenant}");
    let template = TenantTemplate::http(&config, HeaderMap::new(), client, Clock::system()).unwrap();
    let rows = template.rows();
    let names: Vec<_> = (0..64).map(|number| tenant(&format!("t{number}"))).collect();
    let started_at = Instant::now();
    let read = join_all(names.iter().map(|name| rows.read_row(name))).await;
    assert_eq!(started_at.elapsed().as_secs(), 4);
    assert_eq!(most.load(Ordering::SeqCst), 16);
    for (number, row) in read.into_iter().enumerate() {
        assert_eq!(shown(row), Some(format!("t{number}=EAAt{number}")));
    }
    // A service that hangs: the first end by the limit of a call, and those that did not begin by then are told so.
    *duration.lock().unwrap() = Duration::from_secs(3_600);
    let started_at = Instant::now();
    let read = join_all(names.iter().map(|name| rows.read_row(name))).await;
    assert!(
        started_at.elapsed() <= Duration::from_secs(11),
        "{:?}",
        started_at.elapsed()
    );
    for row in read {
        let error = row.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("timeout", true), "{error}");
    }
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
    let rows = TenantTemplate::exec(&part, Clock::system()).unwrap().rows();
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
    let rows = TenantTemplate::exec(&config, Clock::system()).unwrap().rows();
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
