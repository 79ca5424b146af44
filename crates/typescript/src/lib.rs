//! TypeScript types of a room: what its rows are on the wire, and what its actions take. They are written by a test of the app, which
//! fails while the page's file is stale:
//!
//! ```
//! use partysync_typescript::{TS, TypeScript};
//! # use partysync_derive::Record;
//! # use partysync_model::Schema;
//! use serde::Deserialize;
//!
//! #[derive(Record)]
//! struct Todo {
//!     id: String,
//!     text: String,
//!     completed: bool,
//! }
//!
//! // In an app: #[cfg_attr(test, derive(partysync::typescript::TS), ts(crate = "partysync::typescript::ts_rs"))]
//! #[derive(Deserialize, TS)]
//! #[ts(crate = "partysync_typescript::ts_rs")]
//! #[serde(tag = "type", content = "payload", rename_all = "lowercase")]
//! enum Action {
//!     Create { id: String, text: String },
//!     Delete { id: String },
//! }
//!
//! let types = TypeScript::of(&Schema::new().record::<Todo>()).actions::<Action>().text().unwrap();
//! assert!(types.contains("export type TodoTuple = readonly [\n  id: string,\n  text: string,\n  completed: 0 | 1,\n"));
//! assert!(types.contains(r#"{ "type": "delete", "payload": { id: string, } }"#));
//! ```
//!
//! A record `Todo` becomes `TodoRow`, an object with the columns' names, and `TodoTuple`, the row as it travels. An integer is a `number`: none that travels
//! is beyond 2^53 (SPEC 3.2). A boolean column is `0 | 1` in a row; in an action it is what serde takes, `boolean`. Actions, and the types they are made
//! of, are read by [`ts-rs`](https://docs.rs/ts-rs), which knows serde's attributes.

#![forbid(unsafe_code)]

mod actions;
mod file;
mod rows;

use partysync_model::{Channel, Schema};

pub use file::StaleTypes;
/// For the attribute `ts(crate = "...")` of types that derive [`TS`] by way of this crate.
pub use ts_rs;
pub use ts_rs::TS;

use actions::Declarations;

/// The types of a room, to be written into a file of the page.
pub struct TypeScript {
    channels: Vec<Channel>,
    declarations: Declarations,
}

impl TypeScript {
    /// The rows of all channels of a schema.
    pub fn of(schema: &Schema) -> Self {
        TypeScript { channels: schema.channels().to_vec(), declarations: Declarations::default() }
    }

    /// Adds an enum of actions, and all types that it is made of.
    #[must_use]
    pub fn actions<A: TS + 'static>(mut self) -> Self {
        self.declarations.add::<A>();
        self
    }

    /// The text of the file.
    ///
    /// # Errors
    ///
    /// Two types would have one name.
    pub fn text(&self) -> Result<String, NameTaken> {
        let names = self.channels.iter().flat_map(rows::names).chain(self.declarations.names());
        if let Some(name) = twice(names) {
            return Err(NameTaken(name));
        }
        let parts = self.channels.iter().map(rows::declaration).chain([rows::channels(&self.channels)]);
        Ok(parts.chain(self.declarations.texts()).collect::<Vec<_>>().join("\n"))
    }

    /// Fails while a file does not hold these types. With the environment variable `UPDATE_TYPES=1` it writes the file instead. A relative path starts at the
    /// package's folder, which is where cargo runs its tests.
    ///
    /// # Errors
    ///
    /// The file is stale or missing (the error tells how to make it), cannot be written, or two types would have one name.
    pub fn check(&self, path: impl AsRef<std::path::Path>) -> Result<(), StaleTypes> {
        file::check(path.as_ref(), &self.text()?, std::env::var_os(file::UPDATE).is_some_and(|update| update == "1"))
    }
}

/// Two types would have one name in the page's file.
#[derive(Debug, thiserror::Error)]
#[error("two types would be named {0}: give one of them another name, an action's with #[ts(rename = \"...\")]")]
pub struct NameTaken(String);

fn twice(names: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(name.clone()))
}
