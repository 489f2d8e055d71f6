use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const SECRET: &str = "EAAGm0PX4ZCpsBAKZA";

/// A command that runs a shell script.
fn shell(script: &str) -> ExternalCommand {
    shell_with_timeout(script, TIMEOUT)
}

fn shell_with_timeout(script: &str, timeout: Duration) -> ExternalCommand {
    let argv = ["sh", "-c", script].map(str::to_owned).into();
    ExternalCommand::new(argv, Vec::new(), timeout)
}

fn program(argv: &[&str]) -> ExternalCommand {
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    ExternalCommand::new(argv, Vec::new(), TIMEOUT)
}

async fn stdout_of(command: &mut ExternalCommand) -> String {
    let answer = command.run(b"", &[]).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

async fn error_of(command: &mut ExternalCommand) -> (CommandError, String) {
    let error = command.run(b"", &[]).await.unwrap_err();
    let message = crate::types::error_chain(&error);
    for text in [&message, &format!("{error:?}"), &format!("{command:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
    (error, message)
}

/// The PIDs that a script writes into a file, one per line.
async fn read_pids(file: &Path, count: usize) -> Vec<u32> {
    let by = Instant::now() + TIMEOUT;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') && text.lines().count() == count {
            return text.lines().map(|line| line.parse().unwrap()).collect();
        }
        assert!(Instant::now() < by, "{text}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Returns whether a process has ended and, if it is a child of this one, has been reaped.
fn is_gone(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
        return true;
    };
    // `4711 (sleep) Z 1 …`: a zombie, which its parent will reap.
    let after = stat.rsplit_once(')').unwrap().1;
    let mut fields = after.split_whitespace();
    let (state, parent) = (fields.next().unwrap(), fields.next().unwrap());
    state == "Z" && parent != std::process::id().to_string()
}

async fn all_are_gone(processes: &[u32]) {
    let by = Instant::now() + TIMEOUT;
    while !processes.iter().copied().all(is_gone) {
        assert!(Instant::now() < by, "{processes:?} are still there");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A script that writes its own number and that of a process in the background, and then does something else.
fn with_company(place: &TempDir, then: &str) -> (String, std::path::PathBuf) {
    let file = place.path().join("numbers");
    let shown = file.display();
    let script = format!("sleep 600 & (echo $$; echo $!) >'{shown}.new'; mv '{shown}.new' '{shown}'; {then}");
    (script, file)
}

#[tokio::test]
async fn what_is_written_to_stdout_is_the_answer() {
    assert_eq!(
        stdout_of(&mut shell("printf 'a token'; echo noise >&2")).await,
        "a token"
    );
    assert_eq!(stdout_of(&mut shell("exit 0")).await, "");
    // No shell reads what is not given to one.
    let text = "$HOME `id` * ; | > x";
    assert_eq!(
        stdout_of(&mut program(&["printf", "%s|", "", text, "a  b"])).await,
        format!("|{text}|a  b|")
    );
}

#[tokio::test]
async fn it_reads_its_stdin_and_nothing_else() {
    let mut command = shell("cat; echo end");
    let given = command.run(b"old token\n", &[]).await.unwrap();
    assert_eq!(given.as_slice(), b"old token\nend\n");
    assert_eq!(stdout_of(&mut command).await, "end\n");
    // Nor does it have to: a megabyte is more than a pipe holds.
    let much = vec![b'x'; 1 << 20];
    let answer = shell("echo deaf").run(&much, &[]).await.unwrap();
    assert_eq!(answer.as_slice(), b"deaf\n");
    let answer = shell("exec <&-; sleep 0.1; echo deaf").run(&much, &[]).await.unwrap();
    assert_eq!(answer.as_slice(), b"deaf\n");
}

#[tokio::test]
async fn its_environment_has_what_is_needed_and_what_was_asked_for() {
    // A variable that `cargo test` sets, as an example of what a command does not inherit.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let names = async |command: &mut ExternalCommand| -> Vec<String> {
        let answer = command.run(b"", &[("GRAPHWARD_TOKEN_DEAD", "true")]).await.unwrap();
        let text = String::from_utf8(answer.to_vec()).unwrap();
        text.lines()
            .map(|line| line.split_once('=').unwrap().0.to_owned())
            .collect()
    };
    let mut few = program(&["env"]);
    let got = names(&mut few).await;
    assert!(got.contains(&"PATH".to_owned()), "{got:?}");
    for name in &got {
        let known = INHERITED_ENV.contains(&name.as_str()) || name == "GRAPHWARD_TOKEN_DEAD";
        assert!(known, "{name}");
    }
    let keep_env = ["CARGO_MANIFEST_DIR", "NO_SUCH_VARIABLE"].map(str::to_owned);
    let mut more = ExternalCommand::new(vec!["env".to_owned()], keep_env.into(), TIMEOUT);
    assert!(names(&mut more).await.contains(&"CARGO_MANIFEST_DIR".to_owned()));
}

#[test]
fn what_is_ours_is_not_handed_on_though_it_is_asked_for() {
    let keep_env = ["GRAPHWARD_APP_SECRET", "PATH"].map(str::to_owned);
    let command = ExternalCommand::new(vec!["env".to_owned()], keep_env.into(), TIMEOUT);
    let reserved = command
        .inherited_env_names()
        .filter(|name| name.starts_with("GRAPHWARD"));
    assert_eq!(reserved.count(), 0);
}

#[tokio::test]
async fn a_failure_is_reported_with_the_last_line_of_stderr_and_no_secret() {
    let script = format!("echo {SECRET}; echo first >&2; echo 'no {SECRET}: vault is sealed' >&2; exit 3");
    let (error, message) = error_of(&mut shell(&script)).await;
    assert_eq!(
        message,
        "the command failed with exit status: 3: no [redacted]: vault is sealed"
    );
    assert_eq!((error.reason(), error.is_transient()), ("exit_status", true));
    let (_, message) = error_of(&mut shell("kill -9 $$")).await;
    assert_eq!(message, "the command failed with signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let place = tempfile::tempdir().unwrap();
    let plain = place.path().join("plain");
    fs::write(&plain, "#!/bin/sh\necho x\n").unwrap();
    let no_interpreter = place.path().join("orphan");
    fs::write(&no_interpreter, "#!/no/such/interpreter\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&no_interpreter, executable).unwrap();
    let (plain, orphan) = (plain.to_str().unwrap(), no_interpreter.to_str().unwrap());
    for (argv, reason, words) in [
        (&["no-such-program", SECRET][..], "not_found", "program not found"),
        (&["/no/such/program", SECRET], "not_found", "program not found"),
        (&[orphan, SECRET], "not_found", "interpreter"),
        (&[], "not_found", "program not found"),
        (&[plain, SECRET], "not_executable", "not executable"),
        (&["/", SECRET], "not_executable", "not executable"),
    ] {
        let (error, message) = error_of(&mut program(argv)).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, false),
            "{argv:?}: {message}"
        );
        assert!(message.contains(words), "{message}");
    }
    let (error, _) = error_of(&mut program(&["echo", "a\0b"])).await;
    assert_eq!(error.reason(), "spawn_failed");
}

#[test]
fn a_command_line_in_place_of_the_program_is_not_shown() {
    for (argv, shown) in [
        (&["/bin/vault", SECRET][..], "/bin/vault"),
        (&["curl -H 'Authorization: Bearer hunter2'"], "curl"),
        (&["API_KEY=hunter2", "vault"], "API_KEY"),
        (&[], ""),
    ] {
        let command = program(argv);
        assert_eq!(command.program(), shown);
        let text = format!("{command:?}");
        assert!(!text.contains("hunter2") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let place = tempfile::tempdir().unwrap();
    let (script, file) = with_company(&place, "wait");
    let limit = Duration::from_millis(300);
    let began = Instant::now();
    let (error, message) = error_of(&mut shell_with_timeout(&script, limit)).await;
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    assert_eq!((error.reason(), error.is_transient()), ("timeout", true));
    assert_eq!(message, "the command timed out after 300ms and was killed");
    all_are_gone(&read_pids(&file, 2).await).await;
}

#[tokio::test]
async fn what_is_given_up_is_killed_with_all_that_it_started() {
    let place = tempfile::tempdir().unwrap();
    let (script, file) = with_company(&place, "trap '' TERM HUP INT; while :; do sleep 1; done");
    let mut command = shell_with_timeout(&script, 100 * TIMEOUT);
    let there = tokio::select! {
        _ = command.run(b"", &[]) => unreachable!(),
        there = read_pids(&file, 2) => there,
    };
    all_are_gone(&there).await;
    // The same command can be run again, and forgets what it left.
    assert_eq!(command.orphan_groups.len(), 1);
    command.argv = vec!["true".to_owned()];
    command.run(b"", &[]).await.unwrap();
    reap_orphans(&mut command.orphan_groups);
    assert!(command.orphan_groups.is_empty(), "{:?}", command.orphan_groups);
}

#[tokio::test]
async fn what_stays_in_the_background_holds_nothing_up_and_is_killed() {
    let place = tempfile::tempdir().unwrap();
    // It has both pipes.
    let (script, file) = with_company(&place, "echo done");
    let began = Instant::now();
    assert_eq!(stdout_of(&mut shell(&script)).await, "done\n");
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    all_are_gone(&read_pids(&file, 2).await).await;
}

#[tokio::test]
async fn what_leaves_the_group_with_the_pipes_holds_nothing_up() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("numbers");
    let script = format!("setsid sleep 600 & echo $! >'{}'; sleep 0.2; echo done", file.display());
    let began = Instant::now();
    assert_eq!(stdout_of(&mut shell(&script)).await, "done\n");
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    let escaped = read_pids(&file, 1).await;
    let escaped = Pid::from_raw(i32::try_from(escaped[0]).unwrap()).unwrap();
    kill_process_group(escaped, Signal::KILL).unwrap();
}

#[tokio::test]
async fn what_closes_its_pipes_and_goes_on_is_waited_for() {
    let script = "echo token; exec >&- 2>&-; sleep 0.2; exit 4";
    let (error, _) = error_of(&mut shell(script)).await;
    assert_eq!(error.reason(), "exit_status");
    let (error, _) = error_of(&mut shell_with_timeout("exec >&- 2>&-; sleep 600", TIMEOUT / 20)).await;
    assert_eq!(error.reason(), "timeout");
}

#[tokio::test]
async fn a_flood_is_refused_and_what_makes_it_killed() {
    let place = tempfile::tempdir().unwrap();
    for flood in [
        "while :; do echo 0123456789; done",
        "yes",
        "yes >&2",
        "head -c 65537 /dev/zero; sleep 600",
    ] {
        let (script, file) = with_company(&place, flood);
        let (error, message) = error_of(&mut shell(&script)).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("too_large", false),
            "{flood}: {message}"
        );
        all_are_gone(&read_pids(&file, 2).await).await;
        fs::remove_file(file).unwrap();
    }
    let whole = shell("head -c 65536 /dev/zero").run(b"", &[]).await.unwrap();
    assert_eq!(whole.len(), MAX_STDOUT_BYTES);
    let whole = shell("head -c 65536 /dev/zero & wait; head -c 900000 /dev/zero >&2")
        .run(b"", &[])
        .await;
    assert_eq!(whole.unwrap().len(), MAX_STDOUT_BYTES);
}

#[tokio::test]
async fn hundreds_of_runs_leave_no_zombie() {
    let mut command = shell("sleep 600 & echo $$ $!");
    for _ in 0..100 {
        let answer = stdout_of(&mut command).await;
        let processes: Vec<_> = answer.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert!(!Path::new(&format!("/proc/{}", processes[0])).exists());
        all_are_gone(&processes).await;
    }
    assert!(command.orphan_groups.len() <= 1, "{:?}", command.orphan_groups);
}
