use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{self, Front};
use crate::rooms::Rooms;
use crate::{Builder, InUse, StopError, accept};

/// Rooms on this machine. See the crate's documentation.
///
/// A clone is the same server.
#[derive(Clone)]
pub struct Server {
    rooms: Arc<Rooms>,
    front: Arc<Front>,
    /// How long stopping may take.
    stop: Duration,
}

impl Server {
    /// Says what a server is made of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(rooms: Arc<Rooms>, front: Arc<Front>, stop: Duration) -> Self {
        Server { rooms, front, stop }
    }

    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// The routes of rooms, to merge into a router of the app's, or to nest in it at a path.
    ///
    /// Whoever serves it without [`serve_app`](Self::serve_app) should set TCP_NODELAY on the sockets, or small frames may wait for
    /// 40 ms.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let Server { rooms, front, .. } = self.clone();
        let path = format!("{}/{{*room}}", front.prefix);
        let answer = any(move |request: Request| async move { http::answer(rooms, &front, request).await });
        // Not `:party/:room`: axum would decode them.
        Router::new().route(&path, answer)
    }

    /// Serves rooms, and nothing else, until `stop` is ready; then does what [`shutdown`](Self::shutdown) does.
    ///
    /// # Errors
    ///
    /// Those of the listener; a [`StopError`], as [`TimedOut`](io::ErrorKind::TimedOut), if it cannot stop in time.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        self.serve_app(listener, self.router(), stop).await
    }

    /// Serves an app that [`router`](Self::router) is part of, until `stop` is ready; then does what
    /// [`shutdown`](Self::shutdown) does.
    ///
    /// # Errors
    ///
    /// Those of the listener; a [`StopError`], as [`TimedOut`](io::ErrorKind::TimedOut), if it cannot stop in time.
    pub async fn serve_app(
        &self,
        listener: TcpListener,
        app: Router,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.serve_streams(listener, app, async |tcp| Some(tcp), stop).await
    }

    /// As [`serve`](Self::serve), by TLS. A client that takes longer than [`TLS_MS`](partysync_protocol::limits::TLS_MS) to shake hands is
    /// let go.
    ///
    /// ```no_run
    /// # async fn run(server: partysync_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = partysync_server::Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:443").await?;
    /// server.serve_tls(listener, &tls, async { drop(tokio::signal::ctrl_c().await) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`serve`](Self::serve).
    #[cfg(feature = "tls")]
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        tls: &crate::Tls,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.serve_app_tls(listener, tls, self.router(), stop).await
    }

    /// As [`serve_app`](Self::serve_app), by TLS.
    ///
    /// # Errors
    ///
    /// See [`serve_app`](Self::serve_app).
    #[cfg(feature = "tls")]
    pub async fn serve_app_tls(
        &self,
        listener: TcpListener,
        tls: &crate::Tls,
        app: Router,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.serve_streams(listener, app, |tcp| tls.clone().accept(tcp), stop).await
    }

    async fn serve_streams<S, F>(
        &self,
        listener: TcpListener,
        app: Router,
        wrap: impl Fn(TcpStream) -> F,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let mut accepted = accept::Accepted::new(app);
        accepted.serve(listener, wrap, stop).await?;
        // From now on nobody is let in.
        let stopped = self.shutdown().await;
        accepted.end().await;
        stopped.map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))
    }

    /// Lets nobody in any more, finishes what has arrived, closes all sockets with 1012 and all rooms' files.
    ///
    /// It waits until rooms have finished their work, up to 5 s for clients to answer the close, and up to 5 s for
    /// [`on_outbox`](Builder::on_outbox), whose items are delivered again when the server is back. The router then answers 503.
    ///
    /// An action for which [`before_action`](Builder::before_action) still waits is not run and not answered: a version 2
    /// client sends it again when it is back.
    ///
    /// # Errors
    ///
    /// All that took longer than [`Builder::stop_ms`]. The rooms go on with it in the background.
    pub async fn shutdown(&self) -> Result<(), StopError> {
        self.rooms.stop(self.stop).await.map_err(|rooms| StopError { within: self.stop, rooms })
    }

    /// What is in use: what [`shutdown`](Self::shutdown) has to wait for.
    pub fn in_use(&self) -> InUse {
        InUse { rooms: self.rooms.len(), connections: self.rooms.metrics.connections.get() as usize }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("prefix", &self.front.prefix).finish_non_exhaustive()
    }
}
