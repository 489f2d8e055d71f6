//! Commands run by PID 1 of a container, which inherits their orphans.

use std::fs;
use std::process;

use graphward::os::command::ExternalCommand;
use tokio::time::{Duration, Instant};

/// The number of zombie children of this process with this name.
fn zombies_named(name: &str) -> usize {
    let own_id = process::id().to_string();
    let is_ours = |stat: String| {
        // `4711 (name) Z 1 …`: number, name, state, parent.
        let (before, after) = stat.rsplit_once(')')?;
        let mut fields = after.split_whitespace();
        let dead = fields.next()? == "Z" && fields.next()? == own_id;
        (dead && before.ends_with(&format!("({name}"))).then_some(())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| is_ours(fs::read_to_string(entry.path().join("stat")).ok()?))
        .count()
}

#[tokio::test]
async fn orphans_of_commands_are_reaped() {
    // This process inherits orphans from now on, as PID 1 of a container does.
    let own_id = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own_id)).unwrap();
    let argv = |script: &str| ["sh", "-c", script].map(str::to_owned).into();
    let limit = Duration::from_millis(50);
    let mut late = ExternalCommand::new(argv("tail -f /dev/null; :"), Vec::new(), limit);
    let mut quick = ExternalCommand::new(argv("tail -f /dev/null & :"), Vec::new(), crate::support::TIMEOUT);
    for _ in 0..20 {
        late.run(b"", &[]).await.unwrap_err();
        quick.run(b"", &[]).await.unwrap();
    }
    // The last orphan of each command is reaped by its next run.
    let deadline = Instant::now() + crate::support::TIMEOUT;
    while zombies_named("tail") > 2 {
        assert!(Instant::now() < deadline, "{} are not reaped", zombies_named("tail"));
        quick.run(b"", &[]).await.unwrap();
    }
}
