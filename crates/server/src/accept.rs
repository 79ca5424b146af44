//! Connections as they come in, and HTTP on them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use partysync_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a connection may take for the head of a request, from its first moment. So one that says nothing ends too.
const HEAD_TIMEOUT: Duration = Duration::from_millis(limits::HEAD_MS);

/// How long requests may take to end once the rooms are closed. A browser holds connections open on which it never asked for
/// anything.
const GRACE: Duration = Duration::from_secs(1);

/// How long nobody is let in after the system refused to: it has no descriptors, or no memory. Those who wait may get in later.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// HTTP connections, until they end or become WebSockets.
pub(crate) struct Accepted {
    http: Arc<http1::Builder>,
    app: TowerToHyperService<Router>,
    /// Whether they are to end.
    ending: watch::Sender<()>,
    connections: JoinSet<()>,
}

impl Accepted {
    pub(crate) fn new(app: Router) -> Self {
        Accepted {
            http: Arc::new(http()),
            app: TowerToHyperService::new(app),
            ending: watch::Sender::new(()),
            connections: JoinSet::new(),
        }
    }

    /// Lets connections in until `stop` is ready. `wrap` makes of each the stream that carries HTTP, TLS say, or nothing if it cannot.
    ///
    /// # Errors
    ///
    /// The listener can be of no use any more.
    pub(crate) async fn serve<S, F>(
        &mut self,
        listener: TcpListener,
        wrap: impl Fn(TcpStream) -> F,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => self.begin(tcp, &wrap),
                    Err(error) => after_refusal(error).await?,
                },
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    /// Ends all connections: those on which a request is under way when it is answered, if that does not take too long.
    pub(crate) async fn end(self) {
        let Accepted { ending, mut connections, .. } = self;
        ending.send_replace(());
        if timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn begin<S, F>(&mut self, tcp: TcpStream, wrap: impl Fn(TcpStream) -> F)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        // Small frames must not wait for more.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let (wrapped, ending) = (wrap(tcp), self.ending.subscribe());
        let (http, app) = (Arc::clone(&self.http), self.app.clone());
        self.connections.spawn(async move {
            let Some(stream) = wrapped.await else { return };
            carry(&http, app, stream, ending).await;
        });
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(limits::HEAD_BYTES);
    http
}

/// Serves HTTP on a stream until it ends, becomes a WebSocket, or is to end.
async fn carry(
    http: &http1::Builder,
    app: TowerToHyperService<Router>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut ending: watch::Receiver<()>,
) {
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), app).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection");
    }
}

/// What to do when nobody could be let in: to wait, if that may help.
async fn after_refusal(error: io::Error) -> io::Result<()> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};

    match error.kind() {
        // The one who wanted in has gone.
        ConnectionAborted | ConnectionRefused | ConnectionReset => Ok(()),
        InvalidInput | NotConnected => Err(error),
        _ => {
            let why = crate::descriptors::explain(&error).unwrap_or_else(|| error.to_string());
            tracing::error!(error = why, "a connection cannot be accepted");
            sleep(REFUSED_PAUSE).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A connection to a server that has nothing, and what would end it.
    fn connect() -> (DuplexStream, watch::Sender<()>) {
        let (client, stream) = tokio::io::duplex(1 << 20);
        let ending = watch::Sender::new(());
        let subscribed = ending.subscribe();
        tokio::spawn(async move { carry(&http(), TowerToHyperService::new(Router::new()), stream, subscribed).await });
        (client, ending)
    }

    /// The first line of the answer. Nothing: it was closed without one.
    async fn answer(mut client: DuplexStream) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn p8_head_ms_at_the_limit_and_one_past_it() {
        for (ms, expected) in [(limits::HEAD_MS - 1, "HTTP/1.1 404 Not Found"), (limits::HEAD_MS + 1, "")] {
            let (mut client, _ending) = connect();
            client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            sleep(Duration::from_millis(ms)).await;
            // Once it is closed nobody takes it.
            let _ = client.write_all(b"connection: close\r\n\r\n").await;
            assert_eq!(answer(client).await, expected, "after {ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p8_head_ms_counts_for_one_who_never_speaks() {
        let (client, _ending) = connect();
        assert_eq!(answer(client).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn p8_head_bytes_at_the_limit_and_one_past_it() {
        let begin = "GET / HTTP/1.1\r\nconnection: close\r\nx: ";
        let too_large = "HTTP/1.1 431 Request Header Fields Too Large";
        for (bytes, expected) in [(limits::HEAD_BYTES - 1, "HTTP/1.1 404 Not Found"), (limits::HEAD_BYTES, too_large)] {
            let (mut client, _ending) = connect();
            client.write_all(format!("{begin}{}", "x".repeat(bytes - begin.len())).as_bytes()).await.unwrap();
            // The server reads all of it, and looks for the end.
            sleep(Duration::from_millis(1)).await;
            // Once it is refused nobody takes it.
            let _ = client.write_all(b"\r\n\r\n").await;
            assert_eq!(answer(client).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends_with_the_server() {
        let (client, ending) = connect();
        ending.send_replace(());
        let start = tokio::time::Instant::now();
        assert_eq!(answer(client).await, "");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
