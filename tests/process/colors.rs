//! Colors on a terminal.

use std::fs::{self, File};
use std::io::Read as _;

use crate::support::{Graph, graphward_command, settings, terminal, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_color_turns_colors_off_on_a_terminal_unless_it_is_empty() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&graph, "file = \"absent\"", "");
    fs::write(dir.path().join("graphward.toml"), settings).unwrap();
    for (args, words) in [
        (&["demo", "--for", "1s"][..], "token 1 is in the file"),
        // It logs, and exits for lack of a token.
        (&["serve", "--require-token"], "admin listener started"),
        // An error of the command line.
        (&["serve", "--absent"], "unexpected argument"),
    ] {
        for (no_color, colored) in [(None, true), (Some("1"), false), (Some(""), true)] {
            let (controller, terminal) = terminal();
            let mut command = graphward_command(dir.path(), args);
            command.env("TERM", "xterm-256color").env("TMPDIR", dir.path());
            command.envs(no_color.map(|value| ("NO_COLOR", value)));
            command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
            let mut child = command.spawn().unwrap();
            // These ends of the terminal are closed here; it ends with the process.
            drop(command);
            let mut output = Vec::new();
            // The end of a terminal is an error.
            drop(File::from(controller).read_to_end(&mut output));
            child.wait().unwrap();
            let output = String::from_utf8(output).unwrap();
            assert!(output.contains(words), "{args:?}: {output}");
            assert_eq!(output.contains('\x1b'), colored, "{args:?}, {no_color:?}: {output}");
        }
    }
}
