//! Rooms behind TLS, without a proxy.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use partysync_server::{Server, Tls, TlsError};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use support::{PATIENCE, builder, put};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A certificate for `localhost` that vouches for itself: as PEM, with its key, and as clients trust it.
fn certificate() -> (String, String, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem(), cert.der().clone())
}

async fn serve(server: &Server, tls: &Tls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, tls) = (server.clone(), tls.clone());
    tokio::spawn(async move { server.serve_tls(listener, &tls, std::future::pending()).await });
    address
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

async fn receive(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Value {
    let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_the_same_behind_tls() {
    let data = tempfile::tempdir().unwrap();
    let server = builder(data.path()).build().unwrap();
    let (pem, key, trusted) = certificate();
    let address = serve(&server, &Tls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap()).await;

    let stream = connect(address, &trusted, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let (mut ann, _) = client_async("wss://localhost/parties/notes/lobby", stream).await.unwrap();
    let stream = connect(address, &trusted, &[]).await.unwrap();
    let (mut bob, _) = client_async("wss://localhost/parties/notes/lobby", stream).await.unwrap();
    bob.send(Message::text(r#"{"channel":"notes","sync":true,"from":null}"#)).await.unwrap();
    assert_eq!(receive(&mut bob).await["sync"], true);
    // Far more than a TLS record, and than the kernel takes at once.
    let text = "x".repeat(200_000);
    for i in 0..20 {
        let id = format!("n{i}");
        ann.send(Message::text(put(&id, &text).to_string())).await.unwrap();
        assert_eq!(receive(&mut ann).await["id"], *id);
        assert_eq!(receive(&mut bob).await["payload"][0][1], *text);
    }
    // Both are told that the server stops.
    server.shutdown().await.unwrap();
    for socket in [&mut ann, &mut bob] {
        let close = timeout(PATIENCE, socket.next()).await.unwrap();
        assert!(matches!(&close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1012), "{close:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_renewed_comes_into_use() {
    let data = tempfile::tempdir().unwrap();
    let server = builder(data.path()).build().unwrap();
    let ((pem, key, old), (new_pem, new_key, new)) = (certificate(), certificate());
    let tls = Tls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let address = serve(&server, &tls).await;
    assert!(connect(address, &old, &[]).await.is_ok());
    assert!(connect(address, &new, &[]).await.is_err());
    tls.replace(&Tls::from_pem(new_pem.as_bytes(), new_key.as_bytes()).unwrap());
    assert!(connect(address, &old, &[]).await.is_err());
    assert!(connect(address, &new, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_is_let_go_and_holds_up_nobody() {
    let data = tempfile::tempdir().unwrap();
    let server = builder(data.path()).build().unwrap();
    let (pem, key, trusted) = certificate();
    let address = serve(&server, &Tls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap()).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It may end with a reset, since the server read no further.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"));
    assert!(connect(address, &trusted, &[]).await.is_ok());
}

#[test]
fn what_is_no_certificate_is_refused_with_the_reason() {
    let (pem, key, _) = certificate();
    let (_, other_key, _) = certificate();
    let error = |pem: &str, key: &str| Tls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(error("nonsense", &key), TlsError::Certificates(_)));
    assert!(matches!(error(&pem, "nonsense"), TlsError::Key(_)));
    assert!(matches!(error(&pem, &pem), TlsError::Key(_)));
    assert!(matches!(error(&pem, &other_key), TlsError::Unusable(_)));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("fullchain.pem"), &pem).unwrap();
    std::fs::write(path("privkey.pem"), &key).unwrap();
    assert!(Tls::from_pem_files(path("fullchain.pem"), path("privkey.pem")).is_ok());
    assert!(matches!(Tls::from_pem_files(path("none"), path("privkey.pem")), Err(TlsError::Certificates(_))));
    assert!(matches!(Tls::from_pem_files(path("fullchain.pem"), path("none")), Err(TlsError::Key(_))));
}
