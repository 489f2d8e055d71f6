//! Warns at the start of what others may reach or read: listeners, and files with secrets. The key of `[listen] tls` is
//! checked whenever it is read.

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::Config;
use crate::net::ListenAddr;
use crate::source::{TenantsFrom, TokenSource};

/// The most files of `[tenants_from]` that are looked at: a start does not wait for tens of thousands.
const MAX_TENANT_FILES: usize = 1_000;
/// The most of them that are named: their permissions are usually the same.
const MAX_NAMED: usize = 5;

/// Logs a warning for each listener and each file that is exposed.
pub(super) fn warn_of_exposure(config: &Config) {
    let listen = &config.listen;
    for address in listen.proxy.iter().filter(|address| is_exposed(address)) {
        tracing::warn!(
            %address,
            "the proxy listens on more than this machine: every client that reaches it uses the token. Listen on 127.0.0.1 \
             or on a Unix socket, or let only the app connect (a firewall, a NetworkPolicy)"
        );
    }
    if is_exposed(&listen.admin) {
        let address = &listen.admin;
        tracing::warn!(%address, "the admin endpoint listens on more than this machine; let only your monitoring connect");
    }
    for file in exposed_files(config) {
        let file = file.display();
        tracing::warn!(%file, "a file with a secret is readable by every user of this machine; chmod it to 0640 or 0600");
    }
}

/// The files with secrets that every user of this machine can read.
pub(super) fn exposed_files(config: &Config) -> impl Iterator<Item = Cow<'_, Path>> {
    let tokens = || std::iter::once(&config.token).chain(config.tenants.values().map(|tenant| &tenant.token));
    let sources = tokens().flat_map(|token| token.sources.iter().filter_map(TokenSource::file));
    let stores = tokens().filter_map(|token| Some(&token.store.as_ref()?.path));
    let files = sources.chain(stores).chain(&config.secret_files);
    let files = files.map(|file| Cow::Borrowed(file.as_path()));
    let of_tenants = match &config.tenants_from {
        Some(TenantsFrom::Files(files)) => Some(files.place.path.files().take(MAX_TENANT_FILES)),
        Some(TenantsFrom::Postgres(_) | TenantsFrom::Http(_) | TenantsFrom::Exec(_)) | None => None,
    };
    let of_tenants = of_tenants.into_iter().flatten().map(Cow::Owned);
    let of_tenants = of_tenants.filter(|file| is_readable_by_others(file)).take(MAX_NAMED);
    files.filter(|file| is_readable_by_others(file)).chain(of_tenants)
}

/// Returns whether other machines may reach an address.
pub(super) fn is_exposed(address: &ListenAddr) -> bool {
    matches!(address, ListenAddr::Tcp(address) if !address.ip().to_canonical().is_loopback())
}

/// Whether the permissions of a file and of all directories above it let any user read it.
fn is_readable_by_others(file: &Path) -> bool {
    // Links are followed: Kubernetes mounts secrets by way of two of them.
    let Ok(file) = file.canonicalize() else {
        return false;
    };
    let allows = |path: &Path, bit: u32| path.metadata().is_ok_and(|about| about.permissions().mode() & bit != 0);
    file.is_file() && allows(&file, 0o004) && file.ancestors().skip(1).all(|directory| allows(directory, 0o001))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};

    use super::*;
    use crate::config::{EnvVars, Overrides};

    #[test]
    fn others_read_a_file_only_if_every_directory_lets_them() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file) = (folder.path().join("inner"), folder.path().join("inner/token"));
        create_dir(&inner).unwrap();
        write(&file, "hunter2").unwrap();
        for (folder_mode, inner_mode, file_mode, expected) in [
            (0o755, 0o711, 0o644, true),
            (0o755, 0o711, 0o640, false),
            (0o755, 0o710, 0o644, false),
            (0o700, 0o755, 0o644, false),
        ] {
            for (path, mode) in [(folder.path(), folder_mode), (&inner, inner_mode), (&file, file_mode)] {
                set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            assert_eq!(
                is_readable_by_others(&file),
                expected,
                "{folder_mode:o} {inner_mode:o} {file_mode:o}"
            );
        }
        assert!(!is_readable_by_others(&folder.path().join("absent")));
        // To a directory, the advice would do harm.
        set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(!is_readable_by_others(&inner));
    }

    #[test]
    fn a_directory_of_tenants_is_looked_at_and_a_few_of_its_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let flags = || Overrides {
            config: Some(folder.path().join("graphward.toml")),
            ..Overrides::default()
        };
        let text = format!("[tenants_from]\nfile = \"{}/t-{{tenant}}\"\n", folder.path().display());
        write(folder.path().join("graphward.toml"), text).unwrap();
        let config = Config::load(flags(), &EnvVars::new()).unwrap().config;
        let put = |name: &str, mode| {
            write(folder.path().join(name), "hunter2").unwrap();
            set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        put("t-acme", 0o640);
        put("another-file", 0o644);
        assert_eq!(exposed_files(&config).count(), 0);
        put("t-bolt", 0o644);
        let bolt = folder.path().join("t-bolt");
        assert_eq!(
            exposed_files(&config).collect::<Vec<_>>(),
            [Cow::Borrowed(bolt.as_path())]
        );
        for number in 0..20 {
            put(&format!("t-{number}"), 0o644);
        }
        assert_eq!(exposed_files(&config).count(), MAX_NAMED);
    }

    #[test]
    fn only_loopback_and_sockets_are_not_exposed() {
        for (address, expected) in [
            ("127.0.0.1:80", false),
            ("127.8.8.8:80", false),
            ("[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("unix:/a", false),
            ("0.0.0.0:80", true),
            ("[::]:80", true),
            ("10.0.0.1:80", true),
        ] {
            assert_eq!(is_exposed(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
