//! What `--help` shows below the flags: examples, exit codes, variables and signals.

pub(super) const EXPLAIN: &str = "\
Prints the cause, the fix, and where to create a token if one is needed. The input is never printed, because Graph's \
message may contain the token.

Examples:
  graphward explain 190 463
  graphward explain --json 190 463
  graphward explain '{\"error\":{\"message\":\"...\",\"code\":190,\"error_subcode\":463}}'
  graphward explain < answer.json

Exit codes: 0 explained, 1 no Graph error found, 2 usage.";

pub(super) const EXEC: &str = "\
Starts the sidecar on a free port (or on listen.proxy), then the command, with these variables:

  GRAPHWARD_URL, --url-env  the base URL, instead of https://graph.facebook.com
  GRAPHWARD_ADMIN_URL       the admin listener: `graphward status`, `refresh`,
                            `healthcheck`, `token` in the command ask this sidecar
  HTTPS_PROXY, NO_PROXY     the sidecar as a proxy, with tunnels to other hosts
  NODE_EXTRA_CA_CERTS, DENO_CERT, REQUESTS_CA_BUNDLE, SSL_CERT_FILE,
  CURL_CA_BUNDLE            the CA of a certificate for this run, and those that
                            the variable named before, or else the system's
  NODE_USE_ENV_PROXY        1: Node's fetch uses the proxy

The command does not get variables that begin with GRAPHWARD_, nor those from which the configuration reads secrets, \
unless --keep-env names them. Its standard streams are its own; the sidecar logs to standard error.

Examples:
  graphward exec -- npm run dev
  graphward exec --token-file token -- python run_server.py
  graphward exec --url-env API_URL=/v25.0 -- env TOKEN=unused gunicorn app:app

Signals: the command gets SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2. SIGHUP also reloads the \
configuration.

Exit codes: that of the command, or 128 plus the signal that ended it; 126 the command cannot be executed, 127 it does \
not exist. Before the command starts: 1, 2, 3 or 4, as for `serve`.";

pub(super) const STATUS: &str = "\
States: usable; ends_7d, ends_1d (usable, ends within 7 days or 1 day); dead (no token can be used); undecryptable (no \
Fernet key decrypts it); withdrawn (its source no longer has it).

Examples:
  graphward status
  graphward status --tenant acme --json
  graphward status --state dead

Exit codes: 0 the sidecar is ready and all tokens (of --tenant or --state, if given) are usable or withdrawn, those on \
other pages too; 1 it is not, a token is not, it cannot read [tenants_from] or does not answer, 2 usage or configuration.";

pub(super) const REFRESH: &str = "\
Waits until the sidecar is done, and shows the new status.

Examples:
  graphward refresh
  graphward refresh --tenant acme

Exit codes: as for `status`.";

pub(super) const SEND_TEST: &str = "\
Examples:
  graphward send-test --to +15550100 --phone-number-id 106540352242922
  graphward send-test --to +15550100 --template order_sent --language en
  graphward send-test --to +15550100 --text 'Hello'

The default template, hello_world, can be sent only from the test numbers that Meta lends to apps: from a number of \
your own, Graph refuses it (code 131058), and --template names one of your account's templates.

WhatsApp delivers a text only within 24 hours after the recipient's last message. Later, Graph still accepts it, but \
WhatsApp never delivers it; a template, the default, arrives at any time.

Exit codes: 0 Graph accepted the message, 1 it did not, 2 usage or configuration.";

pub(super) const TOKEN: &str = "\
Examples:
  graphward token show
  graphward token set < token

Exit codes: 0 done, 1 not, 2 usage or configuration; of `show`: 0 good, 1 warnings, 2 bad.";

pub(super) const PRINT_CONFIG: &str = "\
Takes the flags of `serve`. Secrets are never in the configuration: it names where they are.

Examples:
  graphward print-config
  graphward print-config --config /etc/graphward/graphward.toml --json

Exit codes: 0 valid, 2 usage or invalid configuration.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  graphward completions bash > /etc/bash_completion.d/graphward
  graphward completions zsh > \"${fpath[1]}/_graphward\"
  graphward completions fish > ~/.config/fish/completions/graphward.fish

Exit codes: 0 printed, 1 not, 2 usage.";

pub(super) const MAN: &str = "\
Examples:
  graphward man | man -l -
  graphward man --out /usr/share/man/man1

Exit codes: 0 written, 1 not, 2 usage.";

pub(super) const CHECK: &str = "\
Reads every source once and asks Graph: what kind of token it is and when it ends, whether it has the permissions that \
WhatsApp needs, whether app.id and app.secret belong together, whether the phone number ids are right. Says what is \
wrong and what to do. Never prints a token.

Counts the tenants of [tenants_from], asks Graph about their tokens, and lists the first twenty that are bad or have \
warnings; --tenant checks one of them in full.

Examples:
  graphward check
  graphward check --phone-number-id 106540352242922 --json
  graphward check --tenant acme
  graphward check --diff < new-token

Exit codes: 0 good, 1 warnings, 2 bad.";

pub(super) const SERVE: &str = "\
Configuration: flags > environment > file > defaults. The file is --config, else GRAPHWARD_CONFIG, else \
./graphward.toml, else /etc/graphward/graphward.toml; it is optional.

Environment:
  GRAPHWARD_CONFIG           the configuration file
  GRAPHWARD_LISTEN           proxy listen addresses, comma-separated
  GRAPHWARD_ADMIN            admin listen address
  GRAPHWARD_ORIGIN           Graph's origin
  GRAPHWARD_CA_FILE          additional CA certificates (PEM) to trust
  GRAPHWARD_TOKEN_FILE       token file
  GRAPHWARD_TOKEN            the token (prefer a file, which can be updated)
  GRAPHWARD_APP_ID           the app's id, for renewals
  GRAPHWARD_APP_SECRET_FILE  app secret file, for renewals and appsecret_proof
  GRAPHWARD_APP_SECRET       the app secret
  GRAPHWARD_LOG              log level: error, warn, info, debug or trace
  GRAPHWARD_LOG_REQUESTS     logged requests: none, problems or all
Every other key, such as [heal] hold_timeout: GRAPHWARD_HEAL_HOLD_TIMEOUT.

Example:
  graphward serve --token-file /run/graphward/token
  curl http://127.0.0.1:8080/v25.0/me

Signals: SIGTERM, SIGINT and SIGQUIT complete the requests in flight, then stop; a second one, at least a second \
later, closes them. SIGHUP reloads the configuration and its secrets, except in a terminal.

Exit codes: 0 clean shutdown, 1 other failure, 2 usage or configuration, 3 cannot bind, 4 no valid token with \
--require-token.";

#[cfg(feature = "fake")]
pub(super) const FAKE_GRAPH: &str = "\
Examples:
  graphward fake-graph --token-out token --renew-every 9m --ca-out ca.pem
  graphward fake-graph --listen 127.0.0.1:0 --control 127.0.0.1:0 --plain --json

Exit codes: 0 stopped, 1 failed, 2 usage, or a file that it reads cannot be used, 3 cannot bind.";
