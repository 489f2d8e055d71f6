//! Flags over environment over file over defaults, and which file it is.

use super::*;

/// A configuration file in a directory of its own, and an environment.
struct Setup {
    directory: tempfile::TempDir,
    env: EnvVars,
}

impl Setup {
    fn new(file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("graphward.toml"), file).unwrap();
        let env = EnvVars::new();
        Self { directory, env }
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self, flags: Overrides) -> Result<LoadedConfig, ConfigError> {
        let (first, second) = (self.path("graphward.toml"), self.path("etc.toml"));
        Config::load_from(flags, &self.env, &[&first, &second])
    }
}

fn flags() -> Overrides {
    Overrides::default()
}

fn file(path: impl Into<PathBuf>) -> TokenSource {
    TokenSource::File(FileSourceConfig {
        path: path.into(),
        format: Format::Raw,
        encryption: crate::source::EncryptionConfig::default(),
    })
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let text = "[log]\nlevel = \"error\"\n[upstream]\norigin = \"https://file\"\n[listen]\nadmin = \"127.0.0.1:1\"";
    let setup = Setup::new(text)
        .env("GRAPHWARD_LOG", "debug")
        .env("GRAPHWARD_ORIGIN", "https://env");
    let mut flags = flags();
    flags.log = Some("trace".to_owned());
    let loaded = setup.load(flags).unwrap();
    let config = &loaded.config;
    assert_eq!(config.log.output.level, LogLevel::Trace);
    assert_eq!(config.upstream.origin, "https://env");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:1");
    assert_eq!(config.listen.proxy[0].to_string(), "127.0.0.1:8080");

    let path = setup.path("graphward.toml");
    assert_eq!(loaded.file, Some(path));
}

#[test]
fn the_common_variables_and_every_flag_reach_their_keys() {
    let setup = Setup::new("")
        .env("GRAPHWARD_LISTEN", "127.0.0.1:1, unix:/a.sock")
        .env("GRAPHWARD_ADMIN", "127.0.0.1:2")
        .env("GRAPHWARD_ORIGIN", "https://env")
        .env("GRAPHWARD_CA_FILE", "env.pem")
        .env("GRAPHWARD_TOKEN_FILE", "env.token")
        .env("GRAPHWARD_APP_ID", "1")
        .env("GRAPHWARD_APP_SECRET_FILE", "env.secret")
        .env("GRAPHWARD_LOG", "warn");
    let by_env = setup.load(flags()).unwrap().config;
    assert_eq!(by_env.listen.proxy.len(), 2);
    assert_eq!(by_env.listen.proxy[1].to_string(), "unix:/a.sock");
    assert_eq!(by_env.listen.admin.to_string(), "127.0.0.1:2");
    assert_eq!(by_env.upstream.origin, "https://env");
    assert_eq!(by_env.upstream.ca_file, Some(std::path::absolute("env.pem").unwrap()));
    assert_eq!(by_env.token.sources, [file(std::path::absolute("env.token").unwrap())]);
    let secret = by_env.app.secret.map(|secret| secret.to_string());
    let expected = std::path::absolute("env.secret").unwrap();
    assert_eq!(secret, Some(format!("the file `{}`", expected.display())));
    assert_eq!(by_env.app.id.as_deref(), Some("1"));
    assert_eq!(by_env.log.output.level, LogLevel::Warn);

    let said = |text: &str| Some(text.to_owned());
    let by_flag = Overrides {
        config: None,
        listen: vec!["127.0.0.1:3".to_owned()],
        admin: said("127.0.0.1:4"),
        graph: GraphOverrides {
            origin: said("https://flag"),
            ca_file: said("flag.pem"),
            token_file: said("flag.token"),
            app_id: said("2"),
            app_secret_file: said("flag.secret"),
        },
        log: said("error"),
        log_requests: said("all"),
    };
    let by_flag = setup.load(by_flag).unwrap().config;
    assert_eq!(by_flag.listen.proxy.len(), 1);
    assert_eq!(by_flag.listen.proxy[0].to_string(), "127.0.0.1:3");
    assert_eq!(by_flag.listen.admin.to_string(), "127.0.0.1:4");
    assert_eq!(by_flag.upstream.origin, "https://flag");
    assert_eq!(by_flag.upstream.ca_file, Some(std::path::absolute("flag.pem").unwrap()));
    assert_eq!(
        by_flag.token.sources,
        [file(std::path::absolute("flag.token").unwrap())]
    );
    assert_eq!(by_flag.app.id.as_deref(), Some("2"));
    assert_eq!(by_flag.log.output.level, LogLevel::Error);
}

#[test]
fn the_token_in_the_environment_is_a_source_and_never_part_of_the_configuration() {
    let setup = Setup::new("[token]\nsource = { file = \"/file\" }").env("GRAPHWARD_TOKEN", "EAAGhunter2");
    let loaded = setup.load(flags()).unwrap();
    let name = "GRAPHWARD_TOKEN".to_owned();
    assert_eq!(loaded.config.token.sources, [TokenSource::Env(EnvSource { name })]);
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn two_variables_for_one_token_contradict_each_other_unless_a_flag_settles_it() {
    let setup = Setup::new("")
        .env("GRAPHWARD_TOKEN", "EAAGhunter2")
        .env("GRAPHWARD_TOKEN_FILE", "/a");
    let error = setup.load(flags()).unwrap_err().to_string();
    assert!(error.contains("GRAPHWARD_TOKEN: token.source: `env` is set together with `file` (GRAPHWARD_TOKEN_FILE)"));
    assert!(!error.contains("hunter2"));
    let mut flags = flags();
    flags.graph.token_file = Some("/b".to_owned());
    assert_eq!(setup.load(flags).unwrap().config.token.sources, [file("/b")]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let setup = Setup::new("[upstream]\norigin = \"https://file\"")
        .env("GRAPHWARD_ORIGIN", "")
        .env("GRAPHWARD_TOKEN", "")
        .env("GRAPHWARD_CONFIG", "");
    let config = setup.load(flags()).unwrap().config;
    assert_eq!(config.upstream.origin, "https://file");
    assert_eq!(config.token.sources, [file("/run/graphward/token")]);
}

#[test]
fn errors_name_the_variable_or_the_flag_and_a_hidden_value_is_checked_too() {
    let setup = Setup::new("[log]\nlevel = \"loud\"")
        .env("GRAPHWARD_LISTEN", "127.0.0.1:1,")
        .env("GRAPHWARD_LOG", "info");
    let mut flags = flags();
    flags.graph.origin = Some("http://a".to_owned());
    let error = setup.load(flags).unwrap_err();
    let shown: Vec<_> = error.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{shown:#?}");
    assert!(shown[0].contains("graphward.toml:2`: log.level: must be one of"));
    assert!(shown[1].starts_with("GRAPHWARD_LISTEN: listen.proxy: must be an IP address"));
    assert!(shown[2].starts_with("--origin: upstream.origin: must start with `https://`"));
}

#[test]
fn a_contradiction_is_reported_where_the_setting_that_applies_is_set() {
    let text = "[heal]\nbody_memory = \"1MiB\"\n[listen]\nadmin = \"127.0.0.1:8080\"";
    let setup = Setup::new(text);
    let starts_with = |setup: &Setup, flags, start: &str| {
        let error = setup.load(flags).unwrap_err();
        let said: Vec<_> = error.diagnostics.iter().map(ToString::to_string).collect();
        assert!(said.len() == 1 && said[0].starts_with(start), "{said:?}");
    };
    let path = setup.path("graphward.toml");
    starts_with(
        &setup,
        flags(),
        &format!("`{}:4`: listen.admin: the admin listener", path.display()),
    );
    let setup = setup.env("GRAPHWARD_ADMIN", "127.0.0.1:8080");
    starts_with(&setup, flags(), "GRAPHWARD_ADMIN: listen.admin: the admin listener");
    let mut flags = flags();
    flags.admin = Some("127.0.0.1:8080".to_owned());
    starts_with(&setup, flags, "--admin: listen.admin: the admin listener");
}

#[test]
fn a_list_of_sources_gives_way_to_the_one_that_a_variable_names() {
    let setup =
        Setup::new("[[token.source]]\nfile = \"/a\"\n[[token.source]]\nenv = \"B\"").env("GRAPHWARD_APP_ID", "twelve");
    let error = setup.load(flags()).unwrap_err().to_string();
    assert!(
        error.contains("GRAPHWARD_APP_ID: app.id: must be a numeric id"),
        "{error}"
    );
    let setup = setup.env("GRAPHWARD_APP_ID", "");
    assert_eq!(setup.load(flags()).unwrap().config.token.sources.len(), 2);
    let setup = setup.env("GRAPHWARD_TOKEN_FILE", "/c");
    assert_eq!(setup.load(flags()).unwrap().config.token.sources, [file("/c")]);
}

#[test]
fn the_file_is_the_one_named_or_the_first_one_found() {
    let setup = Setup::new("[log]\nlevel = \"error\"");
    let level = |loaded: LoadedConfig| loaded.config.log.output.level;
    for (name, text) in [("etc.toml", "warn"), ("env.toml", "debug"), ("flag.toml", "trace")] {
        std::fs::write(setup.path(name), format!("[log]\nlevel = \"{text}\"")).unwrap();
    }
    assert_eq!(level(setup.load(flags()).unwrap()), LogLevel::Error);

    let env = setup.path("env.toml");
    let setup = setup.env("GRAPHWARD_CONFIG", env.to_str().unwrap());
    assert_eq!(level(setup.load(flags()).unwrap()), LogLevel::Debug);
    let mut flag = flags();
    flag.config = Some(setup.path("flag.toml"));
    assert_eq!(level(setup.load(flag).unwrap()), LogLevel::Trace);

    let setup = setup.env("GRAPHWARD_CONFIG", "");
    std::fs::remove_file(setup.path("graphward.toml")).unwrap();
    assert_eq!(level(setup.load(flags()).unwrap()), LogLevel::Warn);
    std::fs::remove_file(setup.path("etc.toml")).unwrap();
    let loaded = setup.load(flags()).unwrap();
    assert_eq!((loaded.file.is_none(), level(loaded)), (true, LogLevel::Info));
}

#[test]
fn a_named_file_has_to_be_there_and_a_found_one_readable() {
    let setup = Setup::new("");
    let mut flag = flags();
    flag.config = Some(setup.path("absent.toml"));
    let error = setup.load(flag).unwrap_err().to_string();
    assert!(
        error.contains("--config: cannot read the configuration file"),
        "{error}"
    );

    let path = setup.path("graphward.toml");
    std::fs::write(&path, b"# \xff").unwrap();
    let error = setup.load(flags()).unwrap_err().to_string();
    assert!(error.contains("valid UTF-8"), "{error}");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = setup.load(flags()).unwrap_err().to_string();
    assert!(error.contains("cannot read the configuration file"), "{error}");
}
