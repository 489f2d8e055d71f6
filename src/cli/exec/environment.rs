//! The environment of the command that `graphward exec` runs.
//!
//! # Why
//!
//! The command inherits the environment, except what is graphward's: its own variables, and those that the configuration names
//! as the places of secrets. The token is to be in graphward alone.
//!
//! A variable that replaces the system's roots gets a file with those roots, or with what the operator had it name before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::str::FromStr;
use std::{env, fs, io};

use tokio::process::Command;

use super::super::ca::{BUNDLE_FILE, CA_FILE, system_roots};
use super::super::exit::print_message;
use crate::config::{CHILD_ADMIN_URL, CHILD_URL};

/// A further variable for the base URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct UrlVariable {
    name: String,
    /// What follows the address.
    path: String,
}

/// Where the command reaches the listeners of its sidecar.
pub(super) struct SidecarUrls {
    pub(super) proxy: String,
    pub(super) admin: String,
}

/// What differs from the environment of this process.
pub(super) struct ChildEnvironment {
    urls: Vec<UrlVariable>,
    removed: Vec<OsString>,
    set: BTreeMap<&'static str, OsString>,
}

/// The variables whose certificates an app trusts besides those that it has: of Node and Deno.
const ADDED_ROOTS: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/// The variables whose certificates an app trusts in place of those that it has: of Python's requests, OpenSSL (httpx, Ruby,
/// PHP, Go) and curl.
const REPLACED_ROOTS: [&str; 3] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"];
/// The addresses that no proxy is used for.
const LOCAL: &str = "localhost,127.0.0.1,::1";

// === impl UrlVariable ===

impl FromStr for UrlVariable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = text.split_once('=').unwrap_or((text, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_variable = name.bytes().all(is_name) && !name.starts_with(|first: char| first.is_ascii_digit());
        if name.is_empty() || !is_variable || !(path.is_empty() || path.starts_with('/')) {
            return Err("must be the name of a variable, or NAME=/PATH");
        }
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }
}

// === impl ChildEnvironment ===

impl ChildEnvironment {
    /// Takes the variables for the base URL, those of secrets, and those among them that the command keeps.
    pub(super) fn new(urls: &[UrlVariable], kept: &[OsString], secret_vars: &BTreeSet<String>) -> Self {
        let names = env::vars_os().map(|(name, _value)| name);
        let is_own = |name: &OsString| name.as_encoded_bytes().starts_with(b"GRAPHWARD_");
        let is_secret = |name: &OsString| {
            let is_named = name.to_str().is_some_and(|name| secret_vars.contains(name));
            is_named && !kept.contains(name)
        };
        Self {
            urls: urls.to_vec(),
            removed: names.filter(|name| is_own(name) || is_secret(name)).collect(),
            set: BTreeMap::new(),
        }
    }

    /// Lets the command trust the certificates of the sidecar. The files for that are written to a directory.
    pub(super) fn trust(&mut self, own: &str, dir: &Path) -> io::Result<()> {
        let roots = system_roots();
        if roots.is_none() {
            print_message("no system roots were found; the command may trust no other https host");
        }
        let added = ADDED_ROOTS.map(|name| (name, CA_FILE, ""));
        let replaced = REPLACED_ROOTS.map(|name| (name, BUNDLE_FILE, roots.as_deref().unwrap_or_default()));
        for (name, file, roots) in added.into_iter().chain(replaced) {
            let before = env::var_os(name).and_then(|path| fs::read_to_string(path).ok());
            let path = match before {
                Some(_) => dir.join(format!("{name}.pem")),
                None => dir.join(file),
            };
            let roots = before.as_deref().unwrap_or(roots);
            fs::write(&path, format!("{}\n{own}", roots.trim_end()))?;
            self.set.insert(name, path.into());
        }
        Ok(())
    }

    /// Applies it to a command whose sidecar has these URLs.
    pub(super) fn apply(self, command: &mut Command, urls: &SidecarUrls) {
        let url = &urls.proxy;
        let read = |upper, lower| env::var_os(upper).or_else(|| env::var_os(lower)).unwrap_or_default();
        let mut no_proxy = read("NO_PROXY", "no_proxy");
        if !no_proxy.is_empty() {
            no_proxy.push(",");
        }
        no_proxy.push(LOCAL);
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(&self.set);
        command.env(CHILD_URL, url).env(CHILD_ADMIN_URL, &urls.admin);
        command.envs(["HTTPS_PROXY", "https_proxy"].map(|name| (name, url)));
        command.envs(["NO_PROXY", "no_proxy"].map(|name| (name, &no_proxy)));
        if env::var_os("NODE_USE_ENV_PROXY").is_none() {
            command.env("NODE_USE_ENV_PROXY", "1");
        }
        let with_path = |UrlVariable { name, path }| (name, format!("{url}{path}"));
        command.envs(self.urls.into_iter().map(with_path));
    }
}
