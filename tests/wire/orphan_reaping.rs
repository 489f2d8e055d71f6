//! Commands run by the first process of a container, which inherits what they leave behind.

use std::fs;
use std::process;

use graphward::os::command::ExternalCommand;
use tokio::time::Duration;

/// How many dead children of this process have this name and are not buried.
fn zombies_named(name: &str) -> usize {
    let us = process::id().to_string();
    let is_ours = |stat: String| {
        // `4711 (name) Z 1 …`: number, name, state, parent.
        let (before, behind) = stat.rsplit_once(')')?;
        let mut fields = behind.split_whitespace();
        let dead = fields.next()? == "Z" && fields.next()? == us;
        (dead && before.ends_with(&format!("({name}"))).then_some(())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| is_ours(fs::read_to_string(entry.path().join("stat")).ok()?))
        .count()
}

#[tokio::test]
async fn the_dead_that_commands_leave_do_not_pile_up() {
    // Orphans come to this process now, as they do to the first of a container.
    let us = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(us)).unwrap();
    let argv = |script: &str| ["sh", "-c", script].map(str::to_owned).into();
    let limit = Duration::from_millis(50);
    let mut late = ExternalCommand::new(argv("tail -f /dev/null; :"), Vec::new(), limit);
    let mut quick = ExternalCommand::new(argv("tail -f /dev/null & :"), Vec::new(), 100 * limit);
    for _ in 0..20 {
        late.run(b"", &[]).await.unwrap_err();
        quick.run(b"", &[]).await.unwrap();
    }
    let left = zombies_named("tail");
    assert!(left <= 2, "{left} are not buried");
}
