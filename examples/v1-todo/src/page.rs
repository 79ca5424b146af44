//! The page: a handful of files, read once when the program starts. No path from a client reaches the file system.

use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Each file's path in URLs, its path below the page's folder, and its type.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "web/index.html", HTML),
    ("/app.js", "web/app.js", JAVASCRIPT),
    ("/room.js", "web/room.js", JAVASCRIPT),
    ("/style.css", "web/style.css", CSS),
    ("/vendor/partysocket/index.js", "node_modules/partysocket/dist/index.js", JAVASCRIPT),
    ("/vendor/partysocket/ws.js", "node_modules/partysocket/dist/ws.js", JAVASCRIPT),
];

/// The routes of the page in a folder that holds `web` and `node_modules`, or why there is no page.
pub(crate) fn routes(folder: &Path) -> Result<Router, String> {
    if !folder.join("node_modules/partysocket").is_dir() {
        return Err(format!("partysocket is not installed: run `npm ci` in {}", folder.display()));
    }
    let mut router = Router::new();
    for (url, file, content_type) in FILES {
        let file = folder.join(file);
        let bytes = std::fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        // Asked for anew each time: the next version of the program may have other files.
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")];
        let bytes = Bytes::from(bytes);
        router = router.route(url, get(move || async move { (headers, bytes) }));
    }
    Ok(router)
}
