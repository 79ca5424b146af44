//! Rows as they travel (SPEC 3.2), and as objects.

use std::fmt::Write;

use partysync_model::{Channel, Column, ColumnType, Table};

/// The engine's own columns. Rows that travel are live: a deleted one does not (SPEC 3.3, 8.10).
const TIMES: [(&str, &str); 3] = [("created_at", "number"), ("updated_at", "number"), ("deleted_at", "null")];

/// What the page's file declares for a channel.
pub(crate) fn names(channel: &Channel) -> Vec<String> {
    channel.record().map(|table| vec![object_name(table), tuple_name(table)]).unwrap_or_default()
}

pub(crate) fn declaration(channel: &Channel) -> String {
    let name = channel.name();
    let Some(table) = channel.record() else {
        return format!("// The columns of `{name}` are not known here: the app makes its table with SQL.\n");
    };
    let mut out =
        format!("/** A row of `{name}`, with `{{ rows: \"objects\" }}`. */\nexport type {} = {{\n", object_name(table));
    for (column, of) in columns(table) {
        let _ = writeln!(out, "  readonly {column}: {of};");
    }
    let _ =
        write!(out, "}};\n\n/** A row of `{name}` as it travels. */\nexport type {} = readonly [\n", tuple_name(table));
    for (column, of) in columns(table) {
        let _ = writeln!(out, "  {column}: {of},");
    }
    out + "];\n"
}

/// All channels by their names.
pub(crate) fn channels(channels: &[Channel]) -> String {
    let mut out = "/** The rows of each channel. */\nexport interface Channels {\n".to_owned();
    for channel in channels {
        let (object, tuple) = match channel.record() {
            Some(table) => (object_name(table), tuple_name(table)),
            None => ("Record<string, unknown>".to_owned(), "readonly unknown[]".to_owned()),
        };
        let _ = writeln!(
            out,
            "  readonly \"{}\": {{ readonly object: {object}; readonly tuple: {tuple} }};",
            channel.name()
        );
    }
    out + "}\n"
}

fn object_name(table: &Table) -> String {
    format!("{}Row", table.record())
}

fn tuple_name(table: &Table) -> String {
    format!("{}Tuple", table.record())
}

fn columns(table: &Table) -> impl Iterator<Item = (&'static str, String)> {
    let own = table.columns().iter().map(|column| (column.name, typescript(column)));
    own.chain(TIMES.map(|(column, of)| (column, of.to_owned())))
}

fn typescript(column: &Column) -> String {
    let of = match column.column_type {
        ColumnType::Boolean => "0 | 1",
        ColumnType::Integer | ColumnType::Real => "number",
        ColumnType::Text => "string",
    };
    if column.nullable { format!("{of} | null") } else { of.to_owned() }
}
