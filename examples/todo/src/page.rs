//! The page: its files are read once, when the program starts. No path from a client reaches the file system.

use std::fs;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;

const TYPES: [(&str, &str); 5] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("webmanifest", "application/manifest+json"),
];

/// The folder whose files have a digest of what is in them in their names: another text has another name.
const HASHED: &str = "/assets/";

/// The routes of the page in a folder, or why there is no page.
pub(crate) fn routes(folder: &Path) -> Result<Router, String> {
    if !folder.join("index.html").is_file() {
        return Err(format!("there is no page in {}: scripts/start builds it", folder.display()));
    }
    let mut router = Router::new();
    for file in files(folder)? {
        let (Ok(path), Some(content_type)) = (file.strip_prefix(folder), content_type(&file)) else { continue };
        let url = format!("/{}", path.to_string_lossy().replace('\\', "/"));
        let url = if url == "/index.html" { "/".to_owned() } else { url };
        let bytes = Bytes::from(fs::read(&file).map_err(|error| failed(&file, &error))?);
        let keep = if url.starts_with(HASHED) { "max-age=31536000, immutable" } else { "no-cache" };
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, keep)];
        router = router.route(&url, get(move || async move { (headers, bytes) }));
    }
    Ok(router)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn content_type(file: &Path) -> Option<&'static str> {
    let ending = file.extension()?.to_str()?;
    TYPES.iter().find(|(known, _)| *known == ending).map(|(_, content_type)| *content_type)
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
