//! Checks of this repository that neither the compiler nor clippy makes: `cargo xtask check` runs them, and so does `cargo test`.
//! And what is made from the protocol's tables: `cargo xtask generate`.

mod arrows;
mod generate;
mod limits;
mod lock;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("generate") => generate(),
        _ => {
            eprintln!("usage: cargo xtask check | generate");
            ExitCode::from(2)
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn generate() -> ExitCode {
    match generate::write(&root()) {
        Ok(files) => {
            files.iter().for_each(|file| println!("written: {file}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> ExitCode {
    let root = root();
    let checks: [(&str, Result<Vec<String>, String>); 5] = [
        ("arrows", arrows::check(&root)),
        ("tidy", tidy::check(&root)),
        ("limits", limits::check(&root)),
        ("lock", lock::check(&root)),
        ("generate", generate::check(&root)),
    ];
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
