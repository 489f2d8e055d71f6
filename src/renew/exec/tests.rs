use std::time::Duration;

use super::*;
use crate::source::CommandConfig;
use crate::source::decode::Format;
use crate::types::{Clock, Secret};

const OLD_TOKEN: &str = "EAAGm0PX4ZCpsBAKZA";

fn shell_renewer(script: &str, format: Format) -> TokenCommand {
    let command = CommandConfig {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        format,
        timeout: Duration::from_secs(60),
        keep_env: Vec::new(),
    };
    TokenCommand::new(command, Clock::system())
}

async fn renew(renewer: &mut TokenCommand, dead: bool) -> Result<Token, ObtainError> {
    let token = Token::without_expiry(Secret::new(OLD_TOKEN).unwrap());
    let token = &token;
    renewer.renew(RenewalRequest { token, is_dead: dead }).await
}

#[tokio::test]
async fn a_command_mints_from_the_old_token_on_stdin() {
    let script = r#"read -r old; read -r more; printf '{"t":"%s-%s%s"}' "$old" "$GRAPHWARD_TOKEN_DEAD" "$more""#;
    let mut renewer = shell_renewer(script, Format::Pointer("/t".to_owned()));
    for (dead, word) in [(true, "true"), (false, "false")] {
        let token = renew(&mut renewer, dead).await.unwrap();
        assert_eq!(token.secret.expose(), format!("{OLD_TOKEN}-{word}"));
    }
    assert_eq!(renewer.describe(), "command sh");
}

#[tokio::test]
async fn the_old_token_is_in_no_argument_no_variable_and_no_error() {
    // The pattern is not its own match.
    let script = "grep -aq 'EAA[G]m0PX4' /proc/$$/environ /proc/$$/cmdline && echo found || echo EAAnew";
    let token = renew(&mut shell_renewer(script, Format::Raw), false).await.unwrap();
    assert_eq!(token.secret.expose(), "EAAnew");
    for (script, reason) in [
        (
            "read -r old; echo \"cannot renew $old: $old\" >&2; exit 1",
            "exit_status",
        ),
        ("read -r old; echo \"$old $old\"", "invalid_character"),
        ("cat; cat /dev/zero", "too_large"),
        ("exit 1", "exit_status"),
        ("exit 0", "empty"),
    ] {
        let mut renewer = shell_renewer(script, Format::Raw);
        let error = renew(&mut renewer, true).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{script}");
        let output = format!("{error} {error:?} {renewer:?}");
        assert!(!output.contains(OLD_TOKEN), "{output}");
    }
}
