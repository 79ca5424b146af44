//! The request that becomes a WebSocket (RFC 6455, 4.2).

use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What every server appends to the client's key (RFC 6455, 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one version of WebSocket.
pub(crate) const VERSION: &str = "13";

/// Checks a request that asks for an upgrade. Returns the key that it is to be answered with, or why it cannot be.
pub(crate) fn check<'h>(method: &Method, headers: &'h HeaderMap) -> Result<&'h [u8], (StatusCode, &'static str)> {
    if method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "A WebSocket is opened with GET."));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err((StatusCode::BAD_REQUEST, "There is no upgrade but to a WebSocket."));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err((StatusCode::BAD_REQUEST, "The header Connection must say upgrade."));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != VERSION) {
        return Err((StatusCode::UPGRADE_REQUIRED, "The WebSocket must be of version 13."));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes());
    match key {
        Some(key) if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) => Ok(key),
        _ => Err((StatusCode::BAD_REQUEST, "The header Sec-WebSocket-Key must be 16 bytes in base64.")),
    }
}

/// The value of `Sec-WebSocket-Accept` for a client's key.
pub(crate) fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// Whether the client offers this subprotocol. Its case counts (RFC 6455, 4.1): a client fails whose own spelling is not answered.
pub(crate) fn offers(headers: &HeaderMap, subprotocol: &str) -> bool {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim() == subprotocol)
}

/// Whether a header's list has a token, in whatever case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_1_3_the_key_is_answered_as_in_the_example() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn spec_8_2_a_subprotocol_is_found_among_others_and_by_its_own_case_alone() {
        let offers = |lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, list.parse().unwrap());
            }
            super::offers(&headers, "partysync.v2")
        };
        assert!(offers(&["partysync.v2"]));
        assert!(offers(&["chat,  partysync.v2 , more"]));
        assert!(offers(&["chat", "partysync.v2"]));
        for without in [&[][..], &["PartySync.v2"], &["partysync.v20"], &["chat, partysync"], &[""]] {
            assert!(!offers(without), "{without:?}");
        }
    }

    #[test]
    fn rfc_6455_4_2_1_what_a_request_must_have() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let status = |method: Method, headers: &[(&'static str, &'static str)]| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
            check(&method, &headers).map(|_| ()).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(status(Method::GET, &good), Ok(()));
        assert_eq!(status(Method::POST, &good), Err(405));
        for (i, without) in [400, 400, 426, 400].into_iter().enumerate() {
            let mut headers = good.to_vec();
            headers.remove(i);
            assert_eq!(status(Method::GET, &headers), Err(without), "without {}", good[i].0);
        }
        for (name, value, expected) in [
            ("connection", "close", 400),
            ("upgrade", "h2c", 400),
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-key", "c2hvcnQ=", 400),
            ("sec-websocket-key", "not base64!", 400),
        ] {
            let headers = good.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
            assert_eq!(status(Method::GET, &headers), Err(expected), "{name}: {value}");
        }
    }
}
