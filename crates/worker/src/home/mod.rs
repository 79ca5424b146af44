//! The home: from requests, frames and alarms of the platform to a room's events, and from its effects back.

mod app;
mod door;
mod front;
mod object;
mod party;
mod request;
mod seat;

pub use app::App;
pub use front::fetch;
pub use object::Object;

/// Makes a worker of an app: the class of its Durable Objects and the entry that takes requests to them. `worker`, the crate, has to be among
/// the dependencies of whoever uses this.
///
/// `durable_object!(Room, app)`: `Room` is the class's name, as the configuration has it; `app` is a `fn(&worker::Env) -> App`.
#[macro_export]
macro_rules! durable_object {
    ($class:ident, $app:path) => {
        /// What the platform calls.
        #[doc(hidden)]
        #[allow(missing_docs, reason = "the attributes make public functions of their own")]
        pub mod __partysync {
            use ::worker::{
                Context, DurableObject, Env, Error, Request, Response, Result, State, WebSocket,
                WebSocketIncomingMessage, durable_object, event,
            };

            #[allow(unused_imports, reason = "the function that makes the app")]
            use super::*;

            #[event(fetch)]
            async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
                $crate::fetch(request, env, $app).await
            }

            #[durable_object]
            pub struct $class(::std::panic::AssertUnwindSafe<$crate::Object>);

            impl DurableObject for $class {
                fn new(state: State, env: Env) -> Self {
                    $class(::std::panic::AssertUnwindSafe($crate::Object::new(state, env, $app)))
                }

                async fn fetch(&self, request: Request) -> Result<Response> {
                    self.0.fetch(request).await
                }

                async fn alarm(&self) -> Result<Response> {
                    self.0.alarm()
                }

                async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
                    self.0.message(&socket, message);
                    Ok(())
                }

                async fn websocket_close(&self, socket: WebSocket, code: usize, reason: String, _: bool) -> Result<()> {
                    self.0.closed(&socket, code, reason);
                    Ok(())
                }

                async fn websocket_error(&self, socket: WebSocket, _: Error) -> Result<()> {
                    self.0.broken(&socket);
                    Ok(())
                }
            }
        }
    };
}
