//! Who may import whom (ARCHITECTURE.md). A part that is not in the table may import nothing of ours.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// A part, and the parts of ours that it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("partysync-protocol", &[]),
    ("partysync-model", &["partysync-protocol"]),
    ("partysync-derive", &[]),
    ("partysync-room", &["partysync-model", "partysync-protocol"]),
    ("partysync-client", &["partysync-model", "partysync-protocol"]),
    ("partysync-sqlite", &["partysync-model", "partysync-protocol"]),
    ("partysync-server", &["partysync-room", "partysync-protocol", "partysync-model", "partysync-sqlite"]),
    ("partysync-worker", &["partysync-room", "partysync-protocol", "partysync-model"]),
    (
        "partysync-sim",
        &[
            "partysync-room",
            "partysync-client",
            "partysync-protocol",
            "partysync-model",
            "partysync-sqlite",
            "partysync-derive",
        ],
    ),
    ("partysync-typescript", &["partysync-model"]),
    ("partysync-vectors", &["partysync-model", "partysync-derive", "partysync-protocol"]),
    (
        "partysync",
        &[
            "partysync-model",
            "partysync-derive",
            "partysync-room",
            "partysync-server",
            "partysync-worker",
            "partysync-typescript",
            "partysync-protocol",
        ],
    ),
    ("partysync-bench", &["partysync"]),
    ("partysync-cli", &[]),
    ("partysync-compat", &["partysync", "partysync-compat-app"]),
    ("partysync-compat-app", &["partysync"]),
    ("partysync-compat-worker", &["partysync", "partysync-compat-app"]),
    ("todo", &["partysync", "todo-app"]),
    ("todo-app", &["partysync"]),
    ("todo-worker", &["partysync", "todo-app"]),
    ("v1-todo", &["partysync", "v1-todo-app"]),
    ("v1-todo-app", &["partysync"]),
    ("v1-todo-worker", &["partysync", "v1-todo-app"]),
    ("xtask", &["partysync-protocol"]),
];

/// The cores: what runs the same in every home. They import these crates of others and no more: no clock, no randomness, no
/// async runtime, no socket can come in with any of them.
const CORES: &[&str] = &["partysync-protocol", "partysync-model", "partysync-room", "partysync-client"];
const CORE_IMPORTS: &[&str] = &["serde", "serde_json", "sha2", "thiserror"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Null for what goes into the product; `dev` and `build` else.
    kind: Option<String>,
}

pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    findings(&output.stdout)
}

fn findings(metadata: &[u8]) -> Result<Vec<String>, String> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|error| error.to_string())?;
    let ours: Vec<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!("{} is not in the table of arrows", package.name));
            continue;
        };
        for Dependency { name, .. } in package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")) {
            let is_ours = ours.contains(&name.as_str());
            if is_ours && !allowed.contains(&name.as_str()) {
                findings.push(format!("{} may not import {name}", package.name));
            }
            if !is_ours && CORES.contains(&package.name.as_str()) && !CORE_IMPORTS.contains(&name.as_str()) {
                findings.push(format!("{} is a core and may not import {name}", package.name));
            }
        }
        let forbidden = forbidden_in_tests(&package.name);
        for Dependency { name, .. } in package.dependencies.iter().filter(|d| forbidden.contains(&d.name.as_str())) {
            findings.push(format!("{} may not import {name}, not even in tests", package.name));
        }
    }
    Ok(findings)
}

/// Room and client never meet but in the simulation.
fn forbidden_in_tests(package: &str) -> &'static [&'static str] {
    match package {
        "partysync-room" => &["partysync-client"],
        "partysync-client" => &["partysync-room"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrows_hold() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(check(&root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_import_is_found() {
        let package = |name: &str, dependency: &str, kind: Option<&str>| {
            let others = ["partysync-room", "partysync-client", "partysync-server"]
                .map(|name| serde_json::json!({"name": name, "dependencies": []}));
            let broken = serde_json::json!({"name": name, "dependencies": [{"name": dependency, "kind": kind}]});
            let packages: Vec<_> = others.into_iter().chain([broken]).collect();
            findings(serde_json::json!({ "packages": packages }).to_string().as_bytes()).unwrap()
        };
        assert_eq!(
            package("partysync-room", "partysync-server", None),
            ["partysync-room may not import partysync-server"]
        );
        assert_eq!(package("partysync-room", "tokio", None), ["partysync-room is a core and may not import tokio"]);
        assert_eq!(package("partysync-room", "tokio", Some("build")).len(), 1);
        assert_eq!(package("partysync-room", "proptest", Some("dev")), Vec::<String>::new());
        assert_eq!(package("partysync-client", "partysync-room", Some("dev")).len(), 1);
        assert_eq!(package("newcomer", "serde", None), ["newcomer is not in the table of arrows"]);
    }
}
