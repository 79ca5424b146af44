//! `#[derive(Record)]`: a struct as a row of a table. See `partysync_model::Record`.

mod record;

/// Implements `Record` for a struct, and names its columns as constants (`Todo::COMPLETED`).
///
/// ```
/// use partysync_model::Record;
/// # use partysync_derive::Record;
///
/// #[derive(Record)]
/// #[record(table = "todos")] // the default: the struct's name in snake case, with an `s`
/// struct Todo {
///     id: String, // the first field, of type String or i64
///     #[record(index)] // scans by this column have an index
///     list: String,
///     #[record(unique)] // no two records have the same
///     position: Option<i64>,
///     completed: bool,
/// }
///
/// assert_eq!(Todo::table().name(), "todos");
/// assert_eq!(Todo::table().columns()[1].name, "list");
/// ```
///
/// The engine adds `created_at`, `updated_at` and `deleted_at`; a field of such a name is refused:
///
/// ```compile_fail
/// # use partysync_derive::Record;
/// #[derive(Record)]
/// struct Todo { id: String, created_at: i64 }
/// ```
///
/// So is a struct whose first field is not `id`:
///
/// ```compile_fail
/// # use partysync_derive::Record;
/// #[derive(Record)]
/// struct Todo { text: String, id: String }
/// ```
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    record::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
