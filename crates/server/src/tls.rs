//! TLS without a proxy (feature `tls`).

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use partysync_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// HTTP/1.1 is what WebSockets are asked for with, so it is what is offered.
const HTTP_1_1: &[u8] = b"http/1.1";

const HANDSHAKE: Duration = Duration::from_millis(limits::TLS_MS);

/// A certificate and its key, for [`Server::serve_tls`](crate::Server::serve_tls). TLS 1.2 and 1.3, by rustls with ring.
///
/// A clone is the same: [`replace`](Self::replace) reaches all.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

/// A certificate or key is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM text of the certificates cannot be read, or has none.
    #[error("the certificates cannot be read: {0}")]
    Certificates(pem::Error),
    /// The PEM text of the key cannot be read, or has none.
    #[error("the private key cannot be read: {0}")]
    Key(pem::Error),
    /// They are not what a server can use: the key is not the certificate's, say.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// From two PEM files, as certificate authorities hand them out: the server's certificate with those that vouch for it after it, and its
    /// private key.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_file_iter(certificates).map_err(TlsError::Certificates)?;
        Self::new(certificates, PrivateKeyDer::from_pem_file(key))
    }

    /// From PEM text, as [`from_pem_files`](Self::from_pem_files) from files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(CertificateDer::pem_slice_iter(certificates), PrivateKeyDer::from_pem_slice(key))
    }

    /// From a configuration of one's own: another certificate a name, certificates of clients. It has to offer `http/1.1`, or nothing, by
    /// ALPN.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Tls(Arc::new(RwLock::new(config)))
    }

    /// Takes another's certificate and key for all connections from now on: how a certificate that was renewed comes into use without a
    /// restart.
    pub fn replace(&self, with: &Tls) {
        let config = with.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn new(
        certificates: impl Iterator<Item = Result<CertificateDer<'static>, pem::Error>>,
        key: Result<PrivateKeyDer<'static>, pem::Error>,
    ) -> Result<Self, TlsError> {
        let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(TlsError::Certificates)?;
        if certificates.is_empty() {
            return Err(TlsError::Certificates(pem::Error::NoItemsFound));
        }
        let key = key.map_err(TlsError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self::from_config(Arc::new(config)))
    }

    /// Shakes hands with a client. `None`: it could not, or took too long.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) -> Option<TlsStream<S>> {
        let shaken = timeout(HANDSHAKE, TlsAcceptor::from(self.config()).accept(stream)).await;
        match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake");
                None
            }
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn p8_tls_ms_at_the_limit_and_one_past_it() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        for (ms, expected) in [(limits::TLS_MS - 1, true), (limits::TLS_MS + 1, false)] {
            let (near, far) = tokio::io::duplex(1 << 16);
            let accepting = tokio::spawn(tls.clone().accept(far));
            sleep(Duration::from_millis(ms)).await;
            let shaken = connector.connect(ServerName::try_from("localhost").unwrap(), near).await;
            assert_eq!(accepting.await.unwrap().is_some(), expected, "after {ms} ms");
            assert_eq!(shaken.is_ok(), expected, "after {ms} ms");
        }
        let (_near, far) = tokio::io::duplex(1 << 16);
        let start = Instant::now();
        assert!(tls.accept(far).await.is_none());
        assert_eq!(start.elapsed(), HANDSHAKE);
    }
}
