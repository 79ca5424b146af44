//! Checks of this repository that neither the compiler nor clippy makes. `cargo xtask check` runs them; so does `cargo test`.

mod arrows;
mod limits;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        _ => {
            eprintln!("usage: cargo xtask check");
            ExitCode::from(2)
        }
    }
}

fn check() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let checks: [(&str, Result<Vec<String>, String>); 3] =
        [("arrows", arrows::check(&root)), ("tidy", tidy::check(&root)), ("limits", limits::check(&root))];
    let mut failed = false;
    for (name, result) in checks {
        match result {
            Ok(findings) if findings.is_empty() => println!("{name}: ok"),
            Ok(findings) => {
                failed = true;
                findings.iter().for_each(|finding| eprintln!("{name}: {finding}"));
            }
            Err(error) => {
                failed = true;
                eprintln!("{name}: could not be checked: {error}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
