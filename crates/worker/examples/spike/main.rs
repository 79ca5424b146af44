//! A Durable Object that runs scripts of tests: `tests/workerd.rs` sends them, and runs the same natively.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::panic, reason = "a room must survive one")]
#![expect(missing_docs, reason = "the attribute of a Durable Object makes public functions of its own")]

mod app;
mod script;

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;

use partysync_worker::DurableDb;
use script::{Home, Line};
use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

/// The object is named by the path.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let name = request.path();
    env.durable_object("ROOM")?.get_by_name(&name)?.fetch_with_request(request).await
}

#[durable_object]
pub struct Spike {
    home: AssertUnwindSafe<RefCell<Home<DurableDb>>>,
}

impl DurableObject for Spike {
    fn new(state: State, _env: Env) -> Self {
        let storage = state.storage();
        // The database is opened by the first event: a failure in here could not be told to anybody.
        let home = Home::new(move || DurableDb::new(&storage));
        Spike { home: AssertUnwindSafe(RefCell::new(home)) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let aloud = request.url()?.query() == Some("aloud");
        // Not `request.json()`: that is JavaScript's, which rounds integers.
        let lines: Vec<Line> = serde_json::from_str(&request.text().await?)?;
        let said = self.home.try_borrow_mut().map_err(|e| e.to_string())?.run(lines);
        if aloud {
            // For answers that the platform withholds, as it does if a transaction was lost.
            said.iter().for_each(|line| worker::console_log!("SAID {line}"));
            worker::console_log!("SAID ALL");
        }
        Response::from_json(&said)
    }
}
