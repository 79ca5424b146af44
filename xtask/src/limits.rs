//! Each limit of SPEC section 11 has a test that names it.

use std::path::Path;

use crate::tidy::{FOLDERS, read, rust_files};

/// Limits without a test of their own, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let spec = read(&root.join("SPEC.md"))?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        rust_files(&root.join(folder), &mut files)?;
    }
    let mut titles = Vec::new();
    for file in files {
        titles.extend(test_titles(&read(&file)?));
    }
    Ok(findings(&limits(&spec)?, &titles, EXCEPTIONS))
}

/// The names in the first column of the table, up to a colon: behind it is prose.
fn limits(spec: &str) -> Result<Vec<String>, String> {
    let section = spec.split("\n## 11 ").nth(1).and_then(|rest| rest.split("\n## ").next());
    let names: Vec<String> = section
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("| `")?.split([':', '|']).next())
        .flat_map(|column| column.split('`').step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect();
    if names.is_empty() { Err("SPEC has no table of limits in section 11".to_owned()) } else { Ok(names) }
}

/// The names of functions that the test runner calls and that cite a rule or a promise.
fn test_titles(text: &str) -> Vec<String> {
    let mut titles = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(title) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            if is_test && ["spec_", "p8_"].iter().any(|prefix| title.starts_with(prefix)) {
                titles.push(title.split('(').next().unwrap_or_default().to_owned());
            }
            is_test = false;
        }
    }
    titles
}

fn findings(limits: &[String], titles: &[String], exceptions: &[(&str, &str)]) -> Vec<String> {
    let has_test = |limit: &str| titles.iter().any(|title| format!("{title}_").contains(&format!("_{limit}_")));
    let is_exception = |limit: &str| exceptions.iter().any(|(name, _)| *name == limit);
    let untested = limits.iter().filter(|limit| !has_test(limit) && !is_exception(limit)).map(|limit| {
        format!(
            "no test names the limit {limit} of SPEC section 11: write spec_11_{limit}_at_the_limit_and_one_past_it"
        )
    });
    let stale = exceptions.iter().filter(|(name, _)| has_test(name) || !limits.iter().any(|limit| limit == name));
    untested.chain(stale.map(|(name, _)| format!("{name} needs to be no exception"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_test() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(check(&root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_limit_without_a_test_is_found() {
        let spec = "\n## 11 Limits\n\n| limit | value |\n| --- | --- |\n| `a_bytes`: of `b` | 1 |\n| `c`, `d_days` of x | 2 |\n\n## 12";
        let limits = limits(spec).unwrap();
        assert_eq!(limits, ["a_bytes", "c", "d_days"]);
        let text = "    #[tokio::test(flavor = \"multi_thread\")]\n    #[ignore]\n    async fn p8_a_bytes_at() {}\n\
                    fn spec_11_c_is_no_test() {}\n#[test]\nfn spec_7_3_d_days() {}\n#[test]\nfn c() {}";
        let titles = test_titles(text);
        assert_eq!(titles, ["p8_a_bytes_at", "spec_7_3_d_days"]);
        assert_eq!(findings(&limits, &titles, &[]).len(), 1);
        assert!(findings(&limits, &titles, &[]).join("").contains("limit c of"));
        assert_eq!(findings(&limits, &titles, &[("c", "why")]), Vec::<String>::new());
        assert_eq!(
            findings(&limits, &titles, &[("c", "why"), ("d_days", "tested since"), ("e", "gone")]),
            ["d_days needs to be no exception", "e needs to be no exception"]
        );
    }
}
