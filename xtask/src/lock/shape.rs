//! A message's shape: its fields, each with the kinds of JSON that are read, and whether it is always written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Fields by path: `cursor.version`, `changes[].channel`, `channels.*`. Each is said in a line: the kinds that are taken, `?` if it may be
/// absent; and how it is written: `always`, perhaps as `null`, or `sometimes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Shape(BTreeMap<String, String>);

/// Fields whose content is the app's: nothing in it is a message's.
const OPAQUE: [&str; 4] = ["action", "rows", "puts", "deletes"];

/// A field whose names are the app's.
const MAP: &str = "channels";

impl Shape {
    /// The shape of a message, of which `full` has all fields and `bare` as few as are ever written. `reads` says whether a text is read.
    pub(super) fn probe(full: &Json, bare: &Json, reads: &dyn Fn(&str) -> bool) -> Self {
        let mut shape = Shape::default();
        for path in paths(full, "") {
            let taken = KINDS.iter().filter(|(_, probe)| reads(&with(full, &path, Some(probe())).to_string()));
            let mut taken: Vec<String> = taken.map(|(kind, _)| (*kind).to_owned()).collect();
            // A probe of its kind has not the form that it needs, such as that of an id.
            let own = kind(at(full, &path));
            if !taken.iter().any(|kind| kind == own) {
                taken.push(format!("{own} of a form"));
            }
            let taken = taken.join("|");
            let is_element = path.last().is_some_and(|step| step == "0");
            let may_be_absent = !is_element && reads(&with(full, &path, None).to_string());
            let written = match find(bare, &path) {
                Some(Json::Null) => "null",
                Some(_) => "always",
                None => "sometimes",
            };
            shape.set(&shown(&path), &format!("{taken}{}; {written}", if may_be_absent { "?" } else { "" }));
        }
        shape
    }

    /// Says what a field is; an empty text takes it away.
    pub(super) fn set(&mut self, path: &str, is: &str) {
        if is.is_empty() {
            self.0.remove(path);
        } else {
            self.0.insert(path.to_owned(), is.to_owned());
        }
    }

    /// The names of the message's own fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|path| !path.contains(['.', '[']))
    }

    /// What a peer that keeps to this shape would not understand of another one.
    pub(super) fn broken_by<'a>(&'a self, new: &'a Shape) -> impl Iterator<Item = String> + 'a {
        let changed = self.0.iter().filter_map(|(path, old)| match new.0.get(path) {
            None => Some(format!("the field {path} is gone")),
            Some(new) if takes_all(old, new) && writes_as(old, new) => None,
            Some(new) => Some(format!("the field {path} was `{old}` and is `{new}`")),
        });
        let required = new.0.iter().filter(|(path, is)| {
            let parent_is_new = !self.0.contains_key(*path) && parent(path).is_some_and(|p| !self.0.contains_key(p));
            !self.0.contains_key(*path) && !parent_is_new && !parts(is).1
        });
        changed.chain(required.map(|(path, _)| format!("the field {path} is new and required")))
    }
}

/// A field's line: the kinds, whether it may be absent, how it is written.
fn parts(is: &str) -> (&str, bool, &str) {
    let (taken, written) = is.split_once("; ").unwrap_or((is, ""));
    (taken.trim_end_matches('?'), taken.ends_with('?'), written)
}

fn takes_all(old: &str, new: &str) -> bool {
    let ((old, old_absent, _), (new, new_absent, _)) = (parts(old), parts(new));
    old.split('|').all(|kind| new.split('|').any(|k| k == kind)) && (new_absent || !old_absent)
}

fn writes_as(old: &str, new: &str) -> bool {
    let (old, new) = (parts(old).2, parts(new).2);
    old == new || new == "always"
}

/// The path that a path lies in, if it lies in one.
fn parent(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).map(|at| &path[..at])
}

type Probe = (&'static str, fn() -> Json);

/// A value of each kind that makes a difference.
const KINDS: &[Probe] = &[
    ("null", || Json::Null),
    ("boolean", || json!(true)),
    ("negative", || json!(-1)),
    ("integer", || json!(7)),
    ("beyond", || json!(1_u64 << 53)),
    ("fraction", || json!(1.5)),
    ("text", || json!("x")),
    ("list", || json!([])),
    ("object", || json!({})),
];

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "integer",
        Json::String(_) => "text",
        Json::Array(_) => "list",
        Json::Object(_) => "object",
    }
}

/// The paths of all fields, as steps; an index stands for each element.
fn paths(value: &Json, name: &str) -> Vec<Vec<String>> {
    let children: Vec<(String, &Json)> = match value {
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Json::Array(items) => items.first().map(|item| ("0".to_owned(), item)).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (step, child) in children.into_iter().filter(|(step, _)| step != "type" && !OPAQUE.contains(&name)) {
        all.push(vec![step.clone()]);
        all.extend(paths(child, &step).into_iter().map(|rest| [vec![step.clone()], rest].concat()));
    }
    all
}

fn shown(path: &[String]) -> String {
    let mut out = String::new();
    for (place, step) in path.iter().enumerate() {
        let is_name = place > 0 && path[place - 1] == MAP;
        match step.as_str() {
            "0" => out.push_str("[]"),
            _ if is_name => out.push_str(".*"),
            step => {
                if place > 0 {
                    out.push('.');
                }
                out.push_str(step);
            }
        }
    }
    out
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|step| format!("/{step}")).collect()
}

fn find<'a>(value: &'a Json, path: &[String]) -> Option<&'a Json> {
    value.pointer(&pointer(path))
}

fn at<'a>(value: &'a Json, path: &[String]) -> &'a Json {
    find(value, path).unwrap_or(&Json::Null)
}

/// The message with another value at a path; or with none.
fn with(message: &Json, path: &[String], new: Option<Json>) -> Json {
    let mut message = message.clone();
    let Some((last, parent)) = path.split_last() else { return message };
    match (message.pointer_mut(&pointer(parent)), new) {
        (Some(Json::Object(fields)), Some(new)) => drop(fields.insert(last.clone(), new)),
        (Some(Json::Object(fields)), None) => drop(fields.remove(last)),
        (Some(Json::Array(items)), Some(new)) => items.iter_mut().take(1).for_each(|item| *item = new.clone()),
        _ => {}
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_what_is_read_and_written() {
        let full = json!({"type": "x", "a": 1, "b": {"c": "t"}, "rows": [[1]], "channels": {"todos": ["id"]}});
        let bare = json!({"type": "x", "a": 1, "b": null, "rows": []});
        let reads = |text: &str| {
            let value: Json = serde_json::from_str(text).unwrap();
            value["a"].is_u64() && (value["b"].is_null() || value["b"]["c"].is_string()) && value["rows"].is_array()
        };
        let shape = Shape::probe(&full, &bare, &reads);
        let of = |path: &str| shape.0.get(path).map(String::as_str);
        assert_eq!(of("a"), Some("integer|beyond; always"));
        assert_eq!(of("b"), Some("null|object of a form?; null"));
        assert_eq!(of("b.c"), Some("text; sometimes"));
        assert_eq!(of("rows"), Some("list; always"));
        assert_eq!(of("rows[]"), None, "what is in it is the app's");
        assert!(of("channels.*[]").is_some() && of("type").is_none());
        assert_eq!(shape.fields().collect::<Vec<_>>(), ["a", "b", "channels", "rows"]);
    }
}
