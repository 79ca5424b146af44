//! Which pages may use the rooms, and what their browsers are told (SPEC 13.6, 13.7), as far as both homes share it.

/// Seconds that a browser may remember what it was told about another origin's requests: as long as any browser does.
const MAX_AGE_S: &str = "7200";

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The origins of pages that may use the rooms; of any, by default.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// `None`: any.
    allowed: Option<Vec<Pattern>>,
}

/// Headers of a response, by their names in lower case.
pub type OriginHeaders = Vec<(&'static str, String)>;

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
    /// What a page of another origin is answered, with status 403.
    pub const REFUSAL: &str = "Pages of this origin may not use this server.";

    /// These origins and no others.
    ///
    /// # Errors
    ///
    /// The one that is no origin.
    pub fn only<'o>(origins: impl IntoIterator<Item = &'o str>) -> Result<Self, &'o str> {
        let allowed = origins.into_iter().map(|origin| Pattern::parse(origin).ok_or(origin));
        Ok(Origins { allowed: Some(allowed.collect::<Result<_, _>>()?) })
    }

    /// None at all.
    pub fn none() -> Self {
        Origins { allowed: Some(Vec::new()) }
    }

    /// Whether a page of this origin may come in. Only browsers send an origin: who sends none is no page.
    pub fn admit(&self, origin: Option<&str>) -> bool {
        let (Some(allowed), Some(origin)) = (&self.allowed, origin) else { return true };
        let origin = Pattern::parse(origin);
        origin.is_some_and(|origin| !origin.subdomains && allowed.iter().any(|pattern| pattern.matches(&origin)))
    }

    /// The headers of the answer, which has status 204, to a browser that asks whether a page may send a request with these headers.
    pub fn preflight(&self, origin: Option<&str>, wanted_headers: Option<&str>) -> OriginHeaders {
        let mut headers = vec![
            ("access-control-allow-methods", METHODS.to_owned()),
            ("access-control-max-age", MAX_AGE_S.to_owned()),
        ];
        headers.extend(wanted_headers.map(|wanted| ("access-control-allow-headers", wanted.to_owned())));
        headers.extend(self.share(origin));
        headers
    }

    /// The headers that let a page of this origin, which [may come in](Self::admit), read a response. `vary` is to be added to one that is there.
    ///
    /// Where any origin is, its cookies are not: else any page could read what its visitor may.
    pub fn share(&self, origin: Option<&str>) -> OriginHeaders {
        match origin {
            None => Vec::new(),
            Some(_) if self.allowed.is_none() => vec![("access-control-allow-origin", "*".to_owned())],
            Some(origin) => vec![
                ("access-control-allow-origin", origin.to_owned()),
                ("access-control-allow-credentials", "true".to_owned()),
                ("vary", "origin".to_owned()),
            ],
        }
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
            assert_eq!(origins.admit(Some(origin)), admitted, "{origin}");
        }
        assert!(origins.admit(None), "no browser");
        assert!(Origins::default().admit(Some("null")), "any");
        assert!(!Origins::only([]).unwrap().admit(Some("https://example.com")), "none");
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
        let page = "https://example.com";
        let listed = Origins::only([page]).unwrap();
        assert_eq!(Origins::default().share(Some(page)), [("access-control-allow-origin", "*".to_owned())]);
        let names = |headers: OriginHeaders| headers.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let shared = ["access-control-allow-origin", "access-control-allow-credentials", "vary"];
        assert_eq!(listed.share(Some(page))[0].1, page);
        assert_eq!(names(listed.share(Some(page))), shared);
        assert_eq!(names(listed.share(None)), [""; 0]);
        let asked = ["access-control-allow-methods", "access-control-max-age", "access-control-allow-headers"];
        assert_eq!(names(listed.preflight(Some(page), Some("x-a"))), [asked, shared].concat());
    }
}
