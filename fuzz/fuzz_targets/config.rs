//! Any text is a configuration or has faults, none makes it panic, and no fault repeats a token that was pasted.

#![no_main]

use graphward::config::of_text;
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
/// Beginnings from which the interesting branches are near.
const BEGINNINGS: [&str; 12] = [
    "",
    "[listen]\nproxy = ",
    "[listen]\nallowed_hosts = [",
    "[upstream]\norigin = ",
    "[upstream.connect_to]\n",
    "[token]\nsource = {",
    "[token]\nsource = [{ http = ",
    "[token]\nsource = { postgres = ",
    "[token]\nrenew = { mint = {",
    "[alerts]\nurl = ",
    "[heal]\nbody_memory = ",
    "[log]\nlevel = ",
];

fuzz_target!(|input: (u8, bool, &str)| {
    let (beginning, quoted, rest) = input;
    let beginning = BEGINNINGS
        .get(usize::from(beginning) % BEGINNINGS.len())
        .copied()
        .unwrap_or_default();
    let text = if quoted {
        format!("{beginning}\"{rest}\"")
    } else {
        format!("{beginning}{rest}")
    };
    // One character stands for a whole token, so that it is pasted often.
    let text = text.replace('~', TOKEN);
    if let Err(error) = of_text(&text) {
        assert!(!error.diagnostics.is_empty());
        let said = error.to_string();
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.lines().count() > error.diagnostics.len());
    }
});
