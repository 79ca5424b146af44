//! Declarations of actions, and of the types that they are made of.

use std::any::TypeId;

use ts_rs::{Config, TS, TypeVisitor};

/// Each type once, however often actions use it.
#[derive(Default)]
pub(crate) struct Declarations {
    seen: Vec<TypeId>,
    declared: Vec<Declared>,
}

struct Declared {
    name: String,
    text: String,
}

impl Declarations {
    /// Adds a type, and those that it is made of behind it.
    pub(crate) fn add<T: TS + ?Sized + 'static>(&mut self) {
        if self.seen.contains(&TypeId::of::<T>()) {
            return;
        }
        self.seen.push(TypeId::of::<T>());
        // A type without a file, such as a number or a list, is written where it is used.
        if T::output_path().is_some() {
            self.declare::<T>();
        }
        T::visit_dependencies(self);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.declared.iter().map(|declared| declared.name.clone())
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.declared.iter().map(|declared| declared.text.clone())
    }

    fn declare<T: TS + ?Sized + 'static>(&mut self) {
        // JSON numbers, as everything that travels (SPEC 2 and 3.2).
        let config = Config::new().with_large_int("number");
        let text = format!("{}export {}\n", T::docs().unwrap_or_default(), T::decl(&config));
        // One declaration does for all that a generic type is used with.
        if self.declared.iter().all(|declared| declared.text != text) {
            self.declared.push(Declared { name: T::ident(&config), text });
        }
    }
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + ?Sized + 'static>(&mut self) {
        self.add::<T>();
    }
}
