//! The JSON Schema of the configuration and of drills, for editors and for the reference.
//!
//! Self-contained: every subschema stands where it is used, since editors' TOML plugins differ
//! in how well they follow references.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::raw::RawConfiguration;

/// The JSON Schema (draft 7) of a configuration, with descriptions and defaults.
#[must_use]
pub fn schema() -> Value {
    of::<RawConfiguration>()
}

/// The JSON Schema of a whole document of this shape.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let mut schema = generator.root_schema_for::<T>();
    schemars::transform::transform_subschemas(&mut RecursiveTransform(tidy), &mut schema);
    schema.to_value()
}

/// TOML has no null, so an optional key is absent and never null; and what Rust calls its
/// integers is nobody's business.
fn tidy(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let integer_format = |format: &Value| {
        matches!(format.as_str(), Some("uint8" | "uint16" | "uint32" | "uint64" | "double"))
    };
    if object.get("format").is_some_and(integer_format) {
        object.remove("format");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
    let Some(Value::Array(variants)) = object.get_mut("anyOf") else { return };
    variants.retain(|variant| !is_null(variant));
    if let [Value::Object(only)] = variants.as_slice() {
        // The one that is left takes the place of the choice; what was said of the choice wins.
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}
