//! Small promises about files: the cores' lints are the same, unsafe code is where it may be, SPEC's rules are cited as they are
//! numbered.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each has the lints that keep clocks, sockets and files out.
const CORES: &[&str] = &["protocol", "model", "room", "client"];

/// The one crate that simulates a disk.
const MAY_BE_UNSAFE: &str = "crates/sim/src/";

/// Where the repository's Rust is.
pub(crate) const FOLDERS: &[&str] = &["bench", "compat", "crates", "examples", "xtask"];

pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut findings = same_lints(root)?;
    let spec = read(&root.join("SPEC.md"))?;
    let rules = rules(&spec);
    let mut files = Vec::new();
    for folder in FOLDERS {
        rust_files(&root.join(folder), &mut files)?;
    }
    for file in files {
        let text = read(&file)?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        findings.extend(unknown_rules(&name, &text, &rules));
        findings.extend(unsafe_code(&name, &text));
    }
    Ok(findings)
}

fn same_lints(root: &Path) -> Result<Vec<String>, String> {
    let lints = |core: &str| read(&root.join("crates").join(core).join("clippy.toml"));
    let first = lints(CORES[0])?;
    let mut findings = Vec::new();
    for core in &CORES[1..] {
        if lints(core)? != first {
            findings.push(format!("crates/{core}/clippy.toml is not that of crates/{}", CORES[0]));
        }
    }
    Ok(findings)
}

/// The numbers of SPEC's rules and sections.
fn rules(spec: &str) -> BTreeSet<String> {
    let rule = |part: &str| {
        let number = part.split("**").next()?.to_owned();
        number.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())).then_some(number)
    };
    let section = |line: &str| line.strip_prefix("## ")?.split(' ').next().map(str::to_owned);
    spec.split("**").filter_map(rule).chain(spec.lines().filter_map(section)).collect()
}

/// Rules that a file cites in comments (`SPEC 4.4`) or titles (`spec_4_4_`) and that are not there.
fn unknown_rules(name: &str, text: &str, rules: &BTreeSet<String>) -> Vec<String> {
    let digits_and = |separator: char| move |c: char| c.is_ascii_digit() || c == separator;
    let in_comments = text.split("SPEC ").skip(1).map(|rest| prefix(rest, digits_and('.')).replace('_', "."));
    let in_titles = text.split("fn spec_").skip(1).map(|rest| prefix(rest, digits_and('_')).replace('_', "."));
    in_comments
        .chain(in_titles)
        .map(|rule| rule.trim_end_matches('.').to_owned())
        .filter(|rule| !rule.is_empty() && !rules.contains(rule))
        .map(|rule| format!("{name}: SPEC has no rule {rule}"))
        .collect()
}

fn prefix(text: &str, wanted: impl Fn(char) -> bool) -> String {
    text.chars().take_while(|c| wanted(*c)).collect()
}

fn unsafe_code(name: &str, text: &str) -> Vec<String> {
    let unsafe_block = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    let found = text.lines().any(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && !code.starts_with('"') && unsafe_block.iter().any(|u| code.contains(u))
    });
    let here = file!().replace('\\', "/");
    let allowed = name.replace('\\', "/").starts_with(MAY_BE_UNSAFE) || here.ends_with(&name.replace('\\', "/"));
    if found && !allowed { vec![format!("{name}: unsafe code is for {MAY_BE_UNSAFE} alone")] } else { Vec::new() }
}

pub(crate) fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "node_modules" {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(check(&root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_rule_that_is_not_there_is_found() {
        let rules = rules("## 4 Capture\n- **4.1** A rule.\n| **8.4** | `hello` |\n**bold** text");
        assert_eq!(rules.iter().map(String::as_str).collect::<Vec<_>>(), ["4", "4.1", "8.4"]);
        let text = "// (SPEC 4.1, 9.9) and SPEC 7.1.\nfn spec_8_4_a_title() {}\nfn spec_12_3_another() {}";
        assert_eq!(unknown_rules("x.rs", text, &rules), ["x.rs: SPEC has no rule 7.1", "x.rs: SPEC has no rule 12.3"]);
    }

    #[test]
    fn unsafe_code_outside_of_the_disk_is_found() {
        let text = "fn f() {\n    unsafe { g() }\n}";
        assert_eq!(unsafe_code("crates/room/src/x.rs", text).len(), 1);
        assert!(unsafe_code("crates/sim/src/vfs/x.rs", text).is_empty());
        assert!(unsafe_code("crates/room/src/x.rs", "// unsafe { }").is_empty());
    }
}
