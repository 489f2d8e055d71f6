//! `graphward token set` writes the row, encrypted with the first key.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use graphward::source::Fernet;

use super::server::Database;
use super::support::secret;
use crate::support::{Graph, graphward_command, network_settings, together};

const TABLE: &str = "CREATE TABLE tenant_whatsapp_config (tenant_id text PRIMARY KEY, access_token text, status text, \
    updated_at timestamptz, is_active boolean DEFAULT true)";
/// An example whose comments have the statement that stores a token, a column for the previous one, and the privileges.
const EXAMPLE: &str = include_str!("../../../config/tokens/fernet-column.toml");

/// What stands in the comments of the example from a word on to the end of a statement, or of a line.
fn in_example(start: &str, end: char) -> String {
    let (_, rest) = EXAMPLE
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in the example"));
    let text = format!("{start}{}", rest.split(end).next().unwrap());
    text.replace("\n#", "")
}

fn token_set(dir: &Path, args: &[&str], token: &str) -> Output {
    let mut command = graphward_command(dir, &[&["token", "set"], args].concat());
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_set_in_its_row_with_the_first_key_and_no_other_row_changes() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let keys = [Fernet::generate().unwrap(), Fernet::generate().unwrap()];
    for (key, name) in keys.iter().zip(["new.key", "old.key"]) {
        fs::write(dir.path().join(name), Fernet::expose_key(key)).unwrap();
    }
    let old = Fernet::new(vec![keys[1].clone()]).unwrap();
    let current = old.encrypt(&secret(&graph.sim.issue(None)));
    let database = Database::with(TABLE);
    database.psql("DO $$ BEGIN CREATE ROLE graphward LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    database.psql(&in_example("ALTER TABLE", ';'));
    for privilege in ["GRANT SELECT (tenant_id", "GRANT UPDATE", "GRANT SELECT (previous"] {
        database.psql(&in_example(privilege, ';'));
    }
    let update = in_example("UPDATE tenant_whatsapp_config", '"');
    database.psql(&format!(
        "INSERT INTO tenant_whatsapp_config VALUES ('acme', '{current}', 'expired'), ('bolt', '{current}', 'expired')"
    ));
    let place = format!(
        "postgres = \"{}\"\nupdate = \"{update}\"\nfernet_key = [{{ file = \"new.key\" }}, {{ file = \"old.key\" }}]\n",
        database.url_of("graphward")
    );
    let row = "query = \"SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1\"\nparams = [\"acme\"]\n";
    let rows = "query = \"SELECT tenant_id AS tenant, access_token AS token FROM tenant_whatsapp_config\"\n";
    let network = network_settings(&graph);
    let newest = Fernet::new(vec![keys[0].clone()]).unwrap();
    for (section, query, args, untouched) in [
        ("token.source", row, &[][..], "bolt"),
        ("tenants_from", rows, &["--tenant", "bolt"], ""),
    ] {
        let config = format!("{network}[{section}]\n{place}{query}");
        fs::write(dir.path().join("graphward.toml"), config).unwrap();
        let token = graph.sim.issue(None);
        let set = token_set(dir.path(), args, &token);
        let shown = String::from_utf8_lossy(&[set.stdout, set.stderr].concat()).into_owned();
        assert_eq!(set.status.code(), Some(0), "{shown}");
        assert!(shown.contains("stored") && !shown.contains(&token), "{shown}");
        let tenant = args.last().unwrap_or(&"acme");
        let stored =
            "SELECT access_token FROM tenant_whatsapp_config WHERE updated_at IS NOT NULL AND status = 'connected'";
        let stored = database.psql(&format!("{stored} AND tenant_id = '{tenant}'"));
        assert_eq!(*newest.decrypt(&stored).unwrap(), token);
        let previous = "SELECT previous_access_token FROM tenant_whatsapp_config WHERE tenant_id";
        assert_eq!(database.psql(&format!("{previous} = '{tenant}'")), current);
        let others = "SELECT tenant_id FROM tenant_whatsapp_config WHERE status = 'expired'";
        assert_eq!(database.psql(others), untouched);
    }
}
