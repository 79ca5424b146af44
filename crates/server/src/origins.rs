//! Which pages may use the rooms (SPEC 13.6, 13.7).

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// Seconds that a browser may remember what it was told about another origin's requests: as long as any browser does.
const MAX_AGE_S: &str = "7200";

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The origins of pages that may use the rooms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    /// `None`: any.
    allowed: Option<Vec<Pattern>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// With `://`.
    scheme: String,
    /// Any subdomain of the host, but not the host itself.
    subdomains: bool,
    /// With the port, unless it is the scheme's own.
    host: String,
}

impl Origins {
    /// These origins and no others. `Err`: the one that is no origin.
    pub(crate) fn only<'o>(origins: impl IntoIterator<Item = &'o str>) -> Result<Self, &'o str> {
        let allowed = origins.into_iter().map(|origin| Pattern::parse(origin).ok_or(origin));
        Ok(Origins { allowed: Some(allowed.collect::<Result<_, _>>()?) })
    }

    /// Whether a page of this origin may come in. Only browsers send an origin: who sends none is no page.
    pub(crate) fn admit(&self, origin: Option<&HeaderValue>) -> bool {
        let (Some(allowed), Some(origin)) = (&self.allowed, origin) else { return true };
        let origin = origin.to_str().ok().and_then(Pattern::parse);
        origin.is_some_and(|origin| !origin.subdomains && allowed.iter().any(|pattern| pattern.matches(&origin)))
    }

    /// The answer to a browser that asks whether a page of another origin may send a request; `None` if it does not ask.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        self.share(headers.get(ORIGIN), &mut response);
        Some(response)
    }

    /// Lets a page of this origin, which [may come in](Self::admit), read the response.
    ///
    /// Where any origin is, its cookies are not: else any page could read what its visitor may.
    pub(crate) fn share(&self, origin: Option<&HeaderValue>, response: &mut Response) {
        let Some(origin) = origin else { return };
        let headers = response.headers_mut();
        if self.allowed.is_none() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

impl Pattern {
    /// Reads `scheme://host[:port]`, where the host may begin with `*.`.
    fn parse(origin: &str) -> Option<Self> {
        let origin = origin.to_ascii_lowercase();
        let (scheme, host) = origin.split_once("://")?;
        let (subdomains, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        let own_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let host = host.strip_suffix(own_port).unwrap_or(host);
        let named = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let plain = !scheme.is_empty() && !host.is_empty() && !host.starts_with(['.', ':']) && host.chars().all(named);
        plain.then(|| Pattern { scheme: format!("{scheme}://"), subdomains, host: host.to_owned() })
    }

    fn matches(&self, origin: &Pattern) -> bool {
        let host = if self.subdomains {
            origin.host.strip_suffix(&self.host).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
        } else {
            origin.host == self.host
        };
        self.scheme == origin.scheme && host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &'static str) -> HeaderValue {
        HeaderValue::from_static(origin)
    }

    #[test]
    fn spec_13_6_table_of_origins() {
        let listed =
            ["https://example.com", "https://*.example.org:8443", "http://localhost:5173", "tauri://localhost"];
        let origins = Origins::only(listed).unwrap();
        for (origin, admitted) in [
            ("https://example.com", true),
            ("https://example.com:443", true),
            ("HTTPS://Example.COM", true),
            ("http://example.com", false),
            ("https://example.com:444", false),
            ("https://www.example.com", false),
            ("https://example.com.evil.net", false),
            ("https://evilexample.com", false),
            ("https://a.example.org:8443", true),
            ("https://a.b.example.org:8443", true),
            ("https://a.example.org", false),
            ("https://example.org:8443", false),
            ("https://.example.org:8443", false),
            ("https://evilexample.org:8443", false),
            ("https://*.example.org:8443", false),
            ("http://localhost:5173", true),
            ("http://localhost", false),
            ("tauri://localhost", true),
            ("null", false),
            ("", false),
            ("https://example.com/", false),
        ] {
            assert_eq!(origins.admit(Some(&from(origin))), admitted, "{origin}");
        }
        assert!(origins.admit(None), "no browser");
        assert!(Origins::default().admit(Some(&from("null"))), "any");
        assert!(!Origins::only([]).unwrap().admit(Some(&from("https://example.com"))), "none");
    }

    #[test]
    fn spec_13_6_what_is_no_origin_is_refused_at_start() {
        for wrong in
            ["", "example.com", "https://", "https://*", "https://a.*.com", "https://example.com/", "*", "https://*."]
        {
            assert_eq!(Origins::only(["https://a.b", wrong]).unwrap_err(), wrong);
        }
    }

    #[test]
    fn spec_13_7_a_response_is_shared_with_pages_that_may_read_it() {
        let shared = |origins: &Origins, origin: Option<&HeaderValue>| {
            let mut response = StatusCode::OK.into_response();
            origins.share(origin, &mut response);
            let header = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            (header(ACCESS_CONTROL_ALLOW_ORIGIN), header(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some(), header(VARY))
        };
        let page = from("https://example.com");
        let listed = Origins::only(["https://example.com"]).unwrap();
        let vary = Some("origin".to_owned());
        assert_eq!(shared(&Origins::default(), Some(&page)), (Some("*".to_owned()), false, None));
        assert_eq!(shared(&listed, Some(&page)), (Some("https://example.com".to_owned()), true, vary));
        assert_eq!(shared(&listed, None), (None, false, None));
    }
}
