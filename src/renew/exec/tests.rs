use crate::types::Secret;

use super::*;

const OLD: &str = "EAAGm0PX4ZCpsBAKZA";

fn shell(script: &str, format: Format) -> ExecRenewer {
    let argv = ["sh", "-c", script].map(str::to_owned).into();
    ExecRenewer::new(
        argv,
        format,
        Duration::from_secs(5),
        Vec::new(),
        Clock::system(),
    )
}

async fn renewed(renewer: &mut ExecRenewer, dead: bool) -> Result<Token, ObtainError> {
    let token = Token::lasting(Secret::new(OLD).unwrap());
    let token = &token;
    renewer.renew(Outgoing { token, dead }).await
}

#[tokio::test]
async fn a_command_mints_from_the_old_token_on_stdin() {
    let script = r#"read -r old; read -r more; printf '{"t":"%s-%s%s"}' "$old" "$GRAPHWARD_TOKEN_DEAD" "$more""#;
    let mut renewer = shell(script, Format::Pointer("/t".to_owned()));
    for (dead, word) in [(true, "true"), (false, "false")] {
        let token = renewed(&mut renewer, dead).await.unwrap();
        assert_eq!(token.secret.expose(), format!("{OLD}-{word}"));
    }
    assert_eq!(renewer.describe(), "command sh");
}

#[tokio::test]
async fn the_old_token_is_in_no_argument_no_variable_and_no_error() {
    // The pattern is not its own match.
    let script =
        "grep -aq 'EAA[G]m0PX4' /proc/$$/environ /proc/$$/cmdline && echo found || echo EAAnew";
    let token = renewed(&mut shell(script, Format::Raw), false)
        .await
        .unwrap();
    assert_eq!(token.secret.expose(), "EAAnew");
    for (script, reason) in [
        (
            "read -r old; echo \"cannot renew $old: $old\" >&2; exit 1",
            "exit",
        ),
        ("read -r old; echo \"$old $old\"", "character"),
        ("cat; cat /dev/zero", "too_long"),
        ("exit 1", "exit"),
        ("exit 0", "empty"),
    ] {
        let mut renewer = shell(script, Format::Raw);
        let error = renewed(&mut renewer, true).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{script}");
        let told = format!("{error} {error:?} {renewer:?}");
        assert!(!told.contains(OLD), "{told}");
    }
}
