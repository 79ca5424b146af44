use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Builder;
use crate::http::{self, Front};
use crate::rooms::Rooms;

/// How long HTTP requests may take to end once the rooms are closed. A browser holds connections open on which it never asked for
/// anything.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// Rooms on this machine. See the crate's documentation.
///
/// A clone is the same server.
#[derive(Clone)]
pub struct Server {
    rooms: Arc<Rooms>,
    front: Arc<Front>,
}

impl Server {
    /// Says what a server is made of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(rooms: Arc<Rooms>, front: Arc<Front>) -> Self {
        Server { rooms, front }
    }

    /// The routes of rooms, to merge into a router of the app's, or to nest in it at a path.
    ///
    /// Whoever serves it without [`serve_app`](Self::serve_app) should set TCP_NODELAY on the sockets, or small frames may wait for
    /// 40 ms.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let Server { rooms, front } = self.clone();
        let path = format!("{}/{{*room}}", front.prefix);
        let answer = any(move |request: Request| async move { http::answer(rooms, &front, request).await });
        // Not `:party/:room`: axum would decode them.
        Router::new().route(&path, answer)
    }

    /// Serves rooms, and nothing else, until `stop` is ready; then does what [`shutdown`](Self::shutdown) does.
    ///
    /// # Errors
    ///
    /// Those of the listener.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        self.serve_app(listener, self.router(), stop).await
    }

    /// Serves an app that [`router`](Self::router) is part of, until `stop` is ready; then does what
    /// [`shutdown`](Self::shutdown) does.
    ///
    /// # Errors
    ///
    /// Those of the listener.
    pub async fn serve_app(
        &self,
        listener: TcpListener,
        app: Router,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        let (stopped, until_stopped) = oneshot::channel::<()>();
        let mut serving = tokio::spawn(
            axum::serve(listener, app).with_graceful_shutdown(async { drop(until_stopped.await) }).into_future(),
        );
        tokio::select! {
            result = &mut serving => return result.unwrap_or_else(|error| Err(io::Error::other(error))),
            () = stop => {}
        }
        // From now on nobody is let in.
        drop(stopped);
        self.shutdown().await;
        if timeout(HTTP_GRACE, &mut serving).await.is_err() {
            serving.abort();
        }
        Ok(())
    }

    /// Lets nobody in any more, finishes what has arrived, closes all sockets with 1012 and all rooms' files.
    ///
    /// It waits as long as rooms take to finish their work, and up to 5 s for clients to answer the close. The router
    /// then answers 503.
    pub async fn shutdown(&self) {
        self.rooms.stop().await;
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("prefix", &self.front.prefix).finish_non_exhaustive()
    }
}
