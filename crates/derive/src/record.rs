use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Type};

/// The engine's own columns, in a table's order.
const TIME_COLUMNS: [&str; 3] = ["created_at", "updated_at", "deleted_at"];

struct ColumnField<'a> {
    ident: &'a Ident,
    name: String,
    field_type: &'a Type,
    unique: bool,
    indexed: bool,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = column_fields(input)?;
    let table = table_name(input)?;
    let krate = model_path(input)?;
    let record = &input.ident;
    let record_name = record.to_string();
    let id_type = fields[0].field_type;
    let columns = fields.iter().map(|f| column(f, &krate));
    let constants = fields.iter().enumerate().map(|(i, f)| constant(record, f, i, &krate));
    let to_values = fields.iter().map(|ColumnField { ident, .. }| quote!(#krate::Field::to_value(&self.#ident)));
    let from_columns = fields.iter().enumerate().map(|(i, ColumnField { ident, name, .. })| {
        quote! {
            #ident: #krate::Field::from_value(columns.value(#i))
                .ok_or(#krate::DecodeError { table: #table, column: #name })?
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #krate::Record for #record {
            type Id = #id_type;

            fn table() -> &'static #krate::Table {
                static TABLE: #krate::Table = #krate::Table::new(#record_name, #table, &[#(#columns),*]);
                &TABLE
            }

            fn id_value(&self) -> #krate::Value {
                #krate::Field::to_value(&self.id)
            }

            fn to_values(&self) -> ::std::vec::Vec<#krate::Value> {
                ::std::vec![#(#to_values),*]
            }

            fn from_columns(columns: &dyn #krate::Columns) -> ::std::result::Result<Self, #krate::DecodeError> {
                ::std::result::Result::Ok(#record { #(#from_columns),* })
            }
        }

        #[allow(dead_code)]
        impl #record {
            #(#constants)*
        }
    })
}

fn column(field: &ColumnField<'_>, krate: &TokenStream) -> TokenStream {
    let ColumnField { name, field_type, unique, indexed, .. } = field;
    quote! {
        #krate::Column {
            name: #name,
            column_type: <#field_type as #krate::Field>::COLUMN_TYPE,
            nullable: <#field_type as #krate::Field>::NULLABLE,
            unique: #unique,
            indexed: #indexed,
        }
    }
}

fn constant(record: &Ident, field: &ColumnField<'_>, index: usize, krate: &TokenStream) -> TokenStream {
    let ColumnField { name, field_type, .. } = field;
    let constant = format_ident!("{}", name.to_uppercase());
    let doc = format!("The column `{name}`.");
    quote! {
        #[doc = #doc]
        pub const #constant: #krate::RecordColumn<#record, #field_type> = #krate::RecordColumn::new(#index);
    }
}

fn column_fields(input: &DeriveInput) -> Result<Vec<ColumnField<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a record is a struct with named fields"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(&data.fields, "a record is a struct with named fields"));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a record has no type parameters: it is one table"));
    }
    let fields = named.named.iter().map(column_field).collect::<Result<Vec<_>>>()?;
    match fields.first() {
        Some(first) if first.name == "id" => Ok(fields),
        _ => Err(Error::new_spanned(&named.named, "a record's first field is named `id`")),
    }
}

fn column_field(field: &Field) -> Result<ColumnField<'_>> {
    let Some(ident) = &field.ident else {
        return Err(Error::new_spanned(field, "a record's fields have names"));
    };
    let name = ident.to_string().trim_start_matches("r#").to_owned();
    if TIME_COLUMNS.contains(&name.as_str()) {
        return Err(Error::new_spanned(ident, "the engine keeps this column itself: leave the field out"));
    }
    let (mut unique, mut indexed) = (false, false);
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            match &meta.path {
                path if path.is_ident("unique") => unique = true,
                path if path.is_ident("index") => indexed = true,
                _ => return Err(meta.error("a field takes `unique` or `index`")),
            }
            Ok(())
        })?;
    }
    Ok(ColumnField { ident, name, field_type: &field.ty, unique, indexed })
}

/// `#[record(table = "...")]`, or the struct's name in snake case with an `s`.
fn table_name(input: &DeriveInput) -> Result<String> {
    let Some(literal) = struct_attribute(input, "table")? else {
        return Ok(format!("{}s", snake_case(&input.ident.to_string())));
    };
    let name = literal.value();
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    let engine = name.starts_with('_') || name.starts_with("sqlite_");
    if name.is_empty() || !plain || engine {
        let message = "a table's name is made of a-z, 0-9, `_` and `-`, and does not begin with `_` or `sqlite_`";
        return Err(Error::new_spanned(literal, message));
    }
    Ok(name)
}

/// Where the model's types are: `#[record(crate = "...")]`, or what the crate that uses the macro depends on.
fn model_path(input: &DeriveInput) -> Result<TokenStream> {
    match struct_attribute(input, "crate")? {
        Some(path) => path.parse::<syn::Path>().map(|path| quote!(#path)),
        None => Ok(found_model_path()),
    }
}

/// The model, by the name under which it is imported; or the facade's `model`, for users of the facade alone.
fn found_model_path() -> TokenStream {
    let import = |name: String| {
        let ident = format_ident!("{name}");
        quote!(::#ident)
    };
    if let Ok(FoundCrate::Name(name)) = crate_name("partysync-model") {
        return import(name);
    }
    match crate_name("partysync") {
        Ok(FoundCrate::Name(name)) => {
            let facade = import(name);
            quote!(#facade::model)
        }
        // The facade's own tests and examples.
        Ok(FoundCrate::Itself) => quote!(::partysync::model),
        Err(_) => quote!(::partysync_model),
    }
}

fn struct_attribute(input: &DeriveInput, wanted: &str) -> Result<Option<LitStr>> {
    let mut found = None;
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("table") && !meta.path.is_ident("crate") {
                return Err(meta.error("a record takes `table = \"...\"` or `crate = \"...\"`"));
            }
            let literal: LitStr = meta.value()?.parse()?;
            if meta.path.is_ident(wanted) {
                found = Some(literal);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
