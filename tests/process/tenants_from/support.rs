//! The table of a service that many businesses share, its Graph, and what an app asks.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use fake_graph::TokenChange;
use graphward::source::Fernet;
use graphward::types::Secret;
use http::Request;
use tempfile::TempDir;

use crate::postgres::server::Database;
use crate::support::{APP_SECRET, Body, Client, Graph, Sidecar, TestResponse, get, network_settings, wait_until};

/// The columns that such a service has, without any row.
pub(crate) const TABLE: &str = "
    CREATE TABLE tenant_whatsapp_config (
        id serial PRIMARY KEY, tenant_id text UNIQUE NULL, waba_id text, phone_number_id text, access_token text,
        business_id text, business_account_id text, is_active boolean NOT NULL DEFAULT true, expires_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());";
/// Announces each change of the table.
pub(crate) const NOTIFY: &str = include_str!("../../../config/postgres/notify.sql");
pub(crate) const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

static FERNET: LazyLock<Fernet> = LazyLock::new(|| Fernet::new(vec![Secret::new(KEY).unwrap()]).unwrap());

/// A table with encrypted tokens, and its Graph.
pub(crate) struct Service {
    pub(crate) graph: Graph,
    pub(crate) database: Database,
}

/// Encrypts a token as the service does.
pub(crate) fn seal(token: &str) -> String {
    FERNET.encrypt(&Secret::new(token).unwrap())
}

/// Decrypts a token that graphward has stored.
pub(crate) fn unseal(text: &str) -> String {
    FERNET.decrypt(text).unwrap().to_string()
}

/// Issues a token that may act on these objects. Graph's records show it by the name.
pub(crate) fn issue(graph: &Graph, name: &str, ids: &[&str]) -> String {
    let token = graph.sim.issue(None);
    let change = TokenChange {
        target_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
        name: Some(name.to_owned()),
        ..TokenChange::default()
    };
    assert!(graph.sim.update_token(&token, change));
    token
}

/// The settings of a sidecar with the Meta app, and these tenants.
pub(crate) fn config(graph: &Graph, dir: &Path, tenants_from: &str) -> String {
    fs::write(dir.join("key"), KEY).unwrap();
    format!("{}[tenants_from]\n{tenants_from}\n", app_config(graph, dir))
}

/// The same without tenants.
pub(crate) fn app_config(graph: &Graph, dir: &Path) -> String {
    fs::write(dir.join("secret"), APP_SECRET).unwrap();
    format!(
        "{}[app]\nid = \"1234567890123456\"\nsecret = {{ file = \"secret\" }}\n[routing]\nheader = \"X-Tenant-Id\"\n",
        network_settings(graph)
    )
}

/// The settings of a table at this URL. It is read once an hour, so what comes sooner was announced.
pub(crate) fn table_settings(dir: &Path, url: &str) -> String {
    fs::write(dir.join("url"), url).unwrap();
    r#"
postgres = { file = "url" }
query = """
    SELECT tenant_id AS tenant, access_token AS token, ARRAY[phone_number_id, waba_id] AS ids, expires_at
    FROM tenant_whatsapp_config WHERE is_active"""
update = """
    UPDATE tenant_whatsapp_config SET access_token = $1, expires_at = to_timestamp($3::bigint), updated_at = now()
    WHERE tenant_id = $2"""
listen = "tenants"
poll_interval = "1h"
fernet_key = { file = "key" }
"#
    .to_owned()
}

// === impl Service ===

impl Service {
    pub(crate) async fn start() -> Self {
        Self {
            graph: Graph::start().await,
            database: Database::with(&format!("{TABLE}{NOTIFY}")),
        }
    }

    /// Inserts a tenant with a token of its own, which is returned.
    pub(crate) fn insert(&self, name: &str, phone: &str, account: &str) -> String {
        let token = issue(&self.graph, name, &[phone, account]);
        self.database.psql(&insertion(name, phone, account, &token));
        token
    }

    /// Sets columns of a tenant.
    pub(crate) fn set(&self, name: &str, columns: &str) {
        self.database.psql(&format!(
            "UPDATE tenant_whatsapp_config SET {columns} WHERE tenant_id = '{name}'"
        ));
    }

    /// The token in the row of a tenant.
    pub(crate) fn token_of(&self, name: &str) -> String {
        let query = format!("SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = '{name}'");
        unseal(&self.database.psql(&query))
    }

    /// The number of connections that graphward has to it.
    pub(crate) fn connections(&self) -> usize {
        let name = &self.database.name;
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'graphward'"
        );
        self.database.psql(&count).parse().unwrap()
    }

    /// A sidecar in a directory of its own, once it knows the table.
    pub(crate) async fn sidecar(&self, extra: &str) -> (TempDir, Sidecar) {
        let dir = tempfile::tempdir().unwrap();
        let settings = table_settings(dir.path(), &self.database.url());
        let settings = config(&self.graph, dir.path(), &format!("{settings}{extra}"));
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        wait_until_started(&sidecar).await;
        (dir, sidecar)
    }
}

/// The statement that inserts a tenant.
pub(crate) fn insertion(name: &str, phone: &str, account: &str, token: &str) -> String {
    format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, phone_number_id, waba_id, access_token)
         VALUES ('{name}', '{phone}', '{account}', '{}')",
        seal(token)
    )
}

pub(crate) async fn wait_until_started(sidecar: &Sidecar) {
    wait_until("it has started", async || {
        get(sidecar.admin, "/startupz").await.status == 200
    })
    .await;
}

/// A request whose header names a tenant. Graph answers it with the name of the token.
pub(crate) async fn me(client: &mut Client, tenant: &str) -> TestResponse {
    let request = Request::get("/v26.0/me?fields=id,name").header("x-tenant-id", tenant);
    client.send(request.body(Body::default()).unwrap()).await
}

/// Fails unless Graph answers a request for this tenant, and sees its token.
#[track_caller]
pub(crate) fn assert_is(response: &TestResponse, tenant: &str) {
    assert_eq!(response.status, 200, "{tenant}: {}", response.json());
    assert_eq!(response.json()["name"], tenant);
}

/// The status of a response and the code of its error.
pub(crate) fn refusal(response: &TestResponse) -> (u16, i64) {
    (
        response.status,
        response.json()["error"]["code"].as_i64().unwrap_or_default(),
    )
}
