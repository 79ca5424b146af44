//! The home: from requests, frames and alarms of the platform to a room's events, and from its effects back.

mod admin;
mod app;
mod door;
mod front;
mod gate;
mod hooks;
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
            use ::worker::wasm_bindgen::prelude::{JsValue, wasm_bindgen};

            #[allow(unused_imports, reason = "the function that makes the app")]
            use super::*;

            #[wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            pub fn fetch(request: ::worker::web_sys::Request, env: ::worker::Env, _context: JsValue) -> JsValue {
                $crate::fetch(request, env, $app)
            }

            // Not the attribute of the `worker` crate: its methods are futures, each of which weighs some kilobytes.
            #[wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            pub struct $class(::std::panic::AssertUnwindSafe<$crate::Object>);

            #[wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            impl $class {
                #[wasm_bindgen(constructor)]
                pub fn new(state: ::worker::worker_sys::DurableObjectState, env: ::worker::Env) -> Self {
                    $class(::std::panic::AssertUnwindSafe($crate::Object::new(state.into(), env, $app)))
                }

                pub fn fetch(&self, request: ::worker::web_sys::Request) -> JsValue {
                    self.0.fetch(request)
                }

                pub fn alarm(&self) {
                    self.0.alarm()
                }

                #[wasm_bindgen(js_name = webSocketMessage)]
                pub fn message(&self, socket: JsValue, message: JsValue) -> JsValue {
                    self.0.message(socket, &message)
                }

                #[wasm_bindgen(js_name = webSocketClose)]
                pub fn closed(&self, socket: JsValue, code: u16, reason: String) {
                    self.0.closed(socket, code, reason)
                }

                #[wasm_bindgen(js_name = webSocketError)]
                pub fn broken(&self, socket: JsValue) {
                    self.0.broken(socket)
                }
            }
        }
    };
}
