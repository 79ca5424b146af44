//! What is made from the protocol's tables: `cargo xtask generate` writes it, `cargo xtask check` finds what is stale.

pub(crate) mod errors;

use std::fs;
use std::path::Path;

use crate::lock;
use crate::tidy::read;

/// A file, and what it is to hold.
struct Made {
    file: &'static str,
    text: String,
}

/// Writes what is stale, and tells which files that were.
pub(crate) fn write(root: &Path) -> Result<Vec<&'static str>, String> {
    let lock = Made { file: lock::FILE, text: lock::made(root)? };
    let stale: Vec<Made> = made(root)?.into_iter().chain([lock]).filter(|made| is_stale(root, made)).collect();
    for Made { file, text } in &stale {
        fs::write(root.join(file), text).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(stale.iter().map(|made| made.file).collect())
}

pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let stale = made(root)?.into_iter().filter(|made| is_stale(root, made));
    Ok(stale.map(|made| format!("{} is stale: run cargo xtask generate", made.file)).collect())
}

fn is_stale(root: &Path, made: &Made) -> bool {
    read(&root.join(made.file)).ok().as_ref() != Some(&made.text)
}

fn made(root: &Path) -> Result<Vec<Made>, String> {
    let spec = read(&root.join("SPEC.md"))?;
    let spec =
        between(&spec, "errors", &errors::spec_table()).and_then(|s| between(&s, "closes", &errors::spec_closes()));
    let docs = read(&root.join("docs/errors.md"))?;
    let docs = between(&docs, "errors", &errors::docs()).and_then(|d| between(&d, "closes", &errors::docs_closes()));
    Ok(vec![
        Made { file: "SPEC.md", text: spec.map_err(|e| format!("SPEC.md: {e}"))? },
        Made { file: "docs/errors.md", text: docs.map_err(|e| format!("docs/errors.md: {e}"))? },
        Made { file: "js/src/errors.ts", text: errors::typescript() },
    ])
}

/// A text with what stands between two marks replaced.
fn between(text: &str, mark: &str, new: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- made: {mark} -->\n"), format!("<!-- end: {mark} -->\n"));
    let missing = || format!("the marks {} and {} are missing", begin.trim_end(), end.trim_end());
    let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{new}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn spec_10_what_is_made_from_the_catalogue_is_not_stale() {
        assert_eq!(check(&root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_was_changed_by_hand_is_found() {
        for made in made(&root()).unwrap() {
            let (file, code) = (made.file, "client_taken");
            let changed = Made { text: made.text.replacen(code, "client_token", 1), ..made };
            assert!(is_stale(&root(), &changed), "{file}");
        }
    }

    #[test]
    fn what_stands_between_two_marks_is_replaced() {
        let text = "a\n<!-- made: x -->\nold\n<!-- end: x -->\nb\n";
        let new = between(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- made: x -->\n\nnew\n\n<!-- end: x -->\nb\n");
        assert_eq!(between(&new, "x", "new\n").unwrap(), new);
        assert!(between(text, "y", "").is_err());
    }
}
