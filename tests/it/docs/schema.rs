//! The JSON Schemas of both kinds of files: made of what the readers ask for and of what
//! `docs/configuration.md` says of it, and held to be as the committed files are.

mod files;
mod upstreams;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safelight::apps::asked_of_app;
use safelight::config::{Asked, Takes};
use safelight::settings::Settings;
use serde_json::{Map, Value, json};

use super::configuration::sections_of;
use super::{code, one_code, read, rows};

/// Set to write the files anew.
const WRITE: &str = "SAFELIGHT_WRITE_SCHEMAS";

/// The kinds of storage; the last of them is what a file has that says nothing.
const KINDS: [&str; 3] = ["gcs", "embedded", "s3"];

/// A kind of file that has a schema.
struct Kind {
    path: &'static str,
    title: &'static str,
    /// Its chapter of `docs/configuration.md`.
    chapter: &'static str,
    asked: fn() -> Vec<Asked>,
    /// Whether variables of the environment may stand for what the file leaves out.
    is_overridden: bool,
}

const APP: Kind = Kind {
    path: "apps.d/app.schema.json",
    title: "Safelight: an app's file",
    chapter: "An app's file",
    asked: asked_of_any_app,
    is_overridden: false,
};

const SETTINGS: Kind = Kind {
    path: "safelight.schema.json",
    title: "Safelight: the settings",
    chapter: "`safelight.toml`",
    asked: Settings::asked,
    is_overridden: true,
};

/// What the reference says of a key.
struct Told {
    takes: String,
    default: String,
    meaning: String,
}

fn asked_of_kind(kind: &str) -> Vec<Asked> {
    asked_of_app(&format!("[Storage]\nKind = '{kind}'"))
}

/// What is asked with any kind of storage, each once.
fn asked_of_any_app() -> Vec<Asked> {
    let mut all: Vec<Asked> = Vec::new();
    for asked in KINDS.into_iter().flat_map(asked_of_kind) {
        match all.iter().find(|known| known.name == asked.name) {
            // A value that is off for all kinds is asked for with each.
            Some(known) => assert_eq!(known, &asked, "one key is of one kind"),
            None => all.push(asked),
        }
    }
    all
}

impl Kind {
    fn told(&self) -> BTreeMap<String, Told> {
        let document = rows(&read("docs/configuration.md"));
        let keys = document.into_iter().filter(|row| row.chapter == self.chapter);
        let keys = keys.filter(|row| row.columns[0] == "Key");
        let mut all = BTreeMap::new();
        for row in keys {
            let [key, takes, default, meaning] =
                ["Key", "Takes", "Default", "Meaning"].map(|column| row.cell(column).to_owned());
            for section in sections_of(&row.heading) {
                let name = format!("{}.{}", section.replace(['[', ']'], ""), one_code(&key));
                let told = Told {
                    takes: takes.clone(),
                    default: default.clone(),
                    meaning: meaning.clone(),
                };
                all.insert(name.trim_start_matches('.').to_owned(), told);
            }
        }
        all
    }

    fn schema(&self) -> Value {
        let told = self.told();
        let mut root = object();
        for asked in (self.asked)() {
            let Some(leaf) = leaf(&asked, told.get(&asked.name)) else { continue };
            let (section, key) = asked.name.rsplit_once('.').unwrap_or(("", &asked.name));
            let object = section_in(&mut root, section);
            object["properties"][key] = leaf;
            let Some(told) = told.get(&asked.name) else { continue };
            let in_list = object.get("x-of-list").is_some();
            if told.default == "required where the other is given" {
                require_together(object, key);
            } else if told.default.starts_with("required with the section") && !self.is_overridden
                || told.default == "required" && (!self.is_overridden || in_list)
            {
                list(object, "required").push(key.into());
            }
        }
        clean(&mut root);
        let head = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.title,
            "description": "Of this version of Safelight; `safelight schema` prints it. What it \
                            accepts may still be refused: `safelight check` has the last word.",
        });
        let Value::Object(mut whole) = head else { unreachable!("it is written so") };
        let Value::Object(rest) = root else { unreachable!("it is an object") };
        whole.extend(rest);
        Value::Object(whole)
    }
}

/// The schema of an app's file: what `[Storage]` may hold depends on its kind.
fn app_schema() -> Value {
    let mut schema = APP.schema();
    list(&mut schema, "required").push("Storage".into());
    let rules = KINDS.map(|kind| {
        let keys = asked_of_kind(kind).into_iter().filter_map(|asked| {
            let key = asked.name.strip_prefix("Storage.")?.to_owned();
            (asked.takes != Takes::Only(None)).then_some(key)
        });
        let is_kind = json!({"properties": {"Kind": {"const": kind}}});
        let is_kind = match kind {
            // Which a file has that says nothing.
            "s3" => is_kind,
            _ => merged(is_kind, json!({"required": ["Kind"]})),
        };
        json!({"if": is_kind, "then": {"propertyNames": {"enum": keys.collect::<Vec<_>>()}}})
    });
    schema["properties"]["Storage"]["allOf"] = Value::Array(rules.into());
    schema
}

/// The schema of a kind of files, as it is to be committed.
fn made(kind: &Kind) -> Value {
    if kind.is_overridden { kind.schema() } else { app_schema() }
}

fn object() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": {}})
}

fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (one, _) => one,
    }
}

/// The object that describes a section.
fn section_in<'a>(root: &'a mut Value, section: &str) -> &'a mut Value {
    section.split('.').filter(|name| !name.is_empty()).fold(root, |object, name| {
        let found = &mut object["properties"][name];
        if found["type"] == "array" { &mut found["items"] } else { found }
    })
}

fn list<'a>(object: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    let entry = object.as_object_mut().expect("an object").entry(key);
    entry.or_insert_with(|| json!([])).as_array_mut().expect("a list")
}

/// Both or neither.
fn require_together(object: &mut Value, key: &str) {
    let others: Vec<String> =
        object["properties"].as_object().expect("an object").keys().cloned().collect();
    let rules = object.as_object_mut().expect("an object").entry("dependentRequired");
    let rules = rules.or_insert_with(|| json!({})).as_object_mut().expect("an object");
    for other in others.iter().filter(|other| *other != key) {
        rules.insert(other.clone(), json!([key]));
        rules.insert(key.to_owned(), json!([other]));
    }
}

/// Takes out what was noted only while the schema was made.
fn clean(value: &mut Value) {
    if let Value::Object(object) = value {
        object.remove("x-of-list");
        object.values_mut().for_each(clean);
    }
}

/// What a key takes; `None` for one that takes nothing.
fn leaf(asked: &Asked, told: Option<&Told>) -> Option<Value> {
    let mut schema = match &asked.takes {
        Takes::Text => json!({"type": "string"}),
        Takes::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Takes::Boolean => json!({"type": "boolean"}),
        Takes::Integer => json!({"type": "integer", "minimum": 0}),
        Takes::Number => json!({"type": "number"}),
        Takes::ByteSize => json!({"type": ["string", "integer"], "minimum": 0,
            "pattern": "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB|TiB)$"}),
        Takes::Duration => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Takes::Section => object(),
        Takes::Sections => {
            json!({"type": "array", "items": merged(object(), json!({"x-of-list": true}))})
        }
        Takes::Only(None) => return None,
        Takes::Only(Some(off)) => json!({"const": toml_value(off),
            "description": "Others are not available in this version."}),
    };
    let is_section = matches!(asked.takes, Takes::Section | Takes::Sections);
    let Some(told) = told else {
        let is_told = is_section || matches!(asked.takes, Takes::Only(_));
        assert!(is_told, "docs/configuration.md has no row for {}", asked.name);
        return Some(schema);
    };
    schema["description"] = plain_text(&told.meaning).into();
    if told.default.starts_with('`') {
        schema["default"] = toml_value(code(&told.default)[0]);
    }
    let closed = closed_set(&told.takes);
    match asked.takes {
        Takes::Text if closed.len() > 1 => {
            let empty = asked.may_be_empty.then(String::new);
            schema["enum"] = closed.into_iter().chain(empty).collect();
        }
        Takes::Texts if !closed.is_empty() => schema["items"]["enum"] = closed.into(),
        _ => {}
    }
    Some(schema)
}

/// The values that a cell lists, where it lists nothing else.
fn closed_set(takes: &str) -> Vec<String> {
    let listed = takes.strip_prefix("list of ").unwrap_or(takes);
    let listed = listed.split(';').next().unwrap_or_default();
    let between: String = listed.split('`').step_by(2).collect();
    let is_closed = between.split([',', ' ']).all(|word| matches!(word, "" | "or"));
    let values = code(listed).into_iter().map(|value| value.trim_matches('"').to_owned());
    // Of a boolean nothing has to be listed.
    let is_text = |value: &String| !matches!(value.as_str(), "true" | "false");
    values.filter(|_| is_closed).filter(is_text).collect()
}

/// A text without the links of Markdown.
fn plain_text(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        match after
            .split_once("](")
            .and_then(|(shown, link)| Some((shown, link.split_once(')')?.1)))
        {
            Some((shown, after)) if !shown.contains('[') => {
                plain.push_str(before);
                plain.push_str(shown);
                rest = after;
            }
            _ => {
                plain.push_str(before);
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// A value as TOML writes it, as JSON.
fn toml_value(text: &str) -> Value {
    fn json_of(value: toml::de::DeValue<'_>) -> Value {
        use toml::de::DeValue;
        match value {
            DeValue::String(text) => text.into(),
            DeValue::Integer(number) => number.as_str().parse::<i64>().expect("an integer").into(),
            DeValue::Float(number) => number.as_str().parse::<f64>().expect("a number").into(),
            DeValue::Boolean(value) => value.into(),
            DeValue::Array(list) => {
                list.into_iter().map(|element| json_of(element.into_inner())).collect()
            }
            DeValue::Table(table) => Value::Object(
                table
                    .into_iter()
                    .map(|(key, value)| {
                        (key.into_inner().into_owned(), json_of(value.into_inner()))
                    })
                    .collect::<Map<_, _>>(),
            ),
            DeValue::Datetime(_) => panic!("no key takes a date"),
        }
    }
    let parsed = toml::de::DeValue::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    json_of(parsed.into_inner())
}

#[test]
fn the_schemas_are_those_of_the_readers_and_the_reference() {
    for kind in [APP, SETTINGS] {
        let made = made(&kind);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind.path);
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        }
        let committed: Value = serde_json::from_str(&read(kind.path)).unwrap();
        let path = kind.path;
        assert_eq!(
            committed, made,
            "{path} is not what the readers ask for and docs/configuration.md says: write it anew \
             with {WRITE}=1 cargo test --test it -- docs::schema, and look at the difference"
        );
    }
}
