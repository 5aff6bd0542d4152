//! Spin's variables: what `spin.toml` declares and `SPIN_VARIABLE_*` sets -> what a component may ask for.
//!
//! In: `[variables]` and `[component.<name>.variables]`, and the environment. Out: for each component its names and texts, and the
//! interface `fermyon:spin/variables@2.0.0` that tells them to the guest.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::state::Sandbox;

/// The interface that a component with variables imports.
pub(crate) const INTERFACE: &str = "fermyon:spin/variables";
/// Its version in WASI 0.2's time.
pub(crate) const VERSION: &str = "2.0.0";

/// Before a variable's name, in capitals, in the environment.
const PREFIX: &str = "SPIN_VARIABLE_";

/// `[variables] name = { ... }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is when nothing sets it.
    default: Option<String>,
    /// Whether something must set it.
    #[serde(default)]
    required: bool,
    // We show no variable's value anywhere.
    #[serde(default, rename = "secret")]
    _secret: bool,
}

/// A component's variables: names, and texts in which `{{ name }}` stands for one of the application's.
pub type Templates = BTreeMap<String, String>;

/// A component's variables with their values.
pub type Values = BTreeMap<String, String>;

/// Checks names, and that every template speaks of variables that are declared.
///
/// # Errors
///
/// A name that Spin would not take, a variable with neither a default nor `required`, a template of an unknown variable.
pub(crate) fn check(variables: &BTreeMap<String, Variable>, templates: &Templates) -> Result<()> {
    for (name, variable) in variables {
        check_name(name)?;
        ensure!(
            variable.required != variable.default.is_some(),
            "variable `{name}`: expected `default` or `required = true`"
        );
    }
    for (name, template) in templates {
        check_name(name)?;
        expand(template, |used| {
            ensure!(
                variables.contains_key(used),
                "no variable `{used}` is declared"
            );
            Ok(String::new())
        })
        .with_context(|| format!("variable `{name}`"))?;
    }
    Ok(())
}

/// `text` with the values of the variables that it names, `environment` asked for `SPIN_VARIABLE_<NAME>` first.
///
/// # Errors
///
/// A variable that is not declared, or a required one that nothing sets.
pub(crate) fn fill(
    variables: &BTreeMap<String, Variable>,
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String> {
    expand(text, |name| value(variables, name, &environment)).with_context(|| format!("`{text}`"))
}

/// The values of `templates`, with `environment` asked for `SPIN_VARIABLE_<NAME>` first.
///
/// # Errors
///
/// A required variable that nothing sets.
pub fn resolve(
    variables: &BTreeMap<String, Variable>,
    templates: &Templates,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Values> {
    let resolved = templates.iter().map(|(name, template)| {
        let text = expand(template, |used| value(variables, used, &environment))?;
        Ok((name.clone(), text))
    });
    resolved.collect()
}

fn value(
    variables: &BTreeMap<String, Variable>,
    name: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String> {
    let variable = variables.get(name);
    let variable = variable.with_context(|| format!("no variable `{name}` is declared"))?;
    let key = format!("{PREFIX}{}", name.to_ascii_uppercase());
    environment(&key)
        .or_else(|| variable.default.clone())
        .with_context(|| format!("variable `{name}` is required: set {key}"))
}

/// `template` with `value(name)` for each `{{ name }}`.
fn expand(template: &str, value: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            bail!("`{{{{` without `}}}}` in `{template}`");
        };
        text += before;
        text += &value(name.trim())?;
        rest = after;
    }
    Ok(text + rest)
}

/// Spin's rule: lower-case letters, digits and single underscores, a letter first, no underscore last.
fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let good = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(plain)
        && !name.ends_with('_')
        && !name.contains("__");
    ensure!(
        good,
        "variable `{name}`: expected lower-case letters, digits and single underscores"
    );
    Ok(())
}

/// Why there is no value, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

fn get(values: &Values, name: String) -> Result<String, Error> {
    match values.get(&name) {
        Some(value) => Ok(value.clone()),
        None if check_name(&name).is_err() => Err(Error::InvalidName(name)),
        None => Err(Error::Undefined(name)),
    }
}

/// Adds the interface to `linker`; what it tells is the store's.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&format!("{INTERFACE}@{VERSION}"))?;
    interface.func_wrap("get", |store, (name,): (String,)| {
        Ok((get(&store.data().grants.variables, name),))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> BTreeMap<String, Variable> {
        toml::from_str(text).expect("the table is valid")
    }

    #[test]
    fn templates_take_defaults_and_the_environment() {
        let variables =
            variables("key = { required = true, secret = true }\nhost = { default = \"a.org\" }");
        let templates: Templates = [
            ("api_key", "{{ key }}"),
            ("origin", "https://{{host}}/{{ host }}"),
            ("plain", "as it is"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
        check(&variables, &templates).expect("it is valid");
        let set = |key: &str| (key == "SPIN_VARIABLE_KEY").then(|| "s3cret".to_owned());
        let values = resolve(&variables, &templates, set).expect("the key is set");
        let expected = [
            ("api_key", "s3cret"),
            ("origin", "https://a.org/a.org"),
            ("plain", "as it is"),
        ];
        assert!(
            values
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str()))
                .eq(expected)
        );
        let error = resolve(&variables, &templates, |_| None).expect_err("no key");
        assert_eq!(
            error.to_string(),
            "variable `key` is required: set SPIN_VARIABLE_KEY"
        );

        assert_eq!(get(&values, "plain".into()), Ok("as it is".into()));
        assert_eq!(
            get(&values, "key".into()),
            Err(Error::Undefined("key".into()))
        );
        assert_eq!(
            get(&values, "A b".into()),
            Err(Error::InvalidName("A b".into()))
        );
    }

    #[test]
    fn what_spin_refuses_is_refused() {
        for (table, name, template, expected) in [
            ("a = {}", "b", "", "expected `default` or `required = true`"),
            (
                "a = { default = \"\", required = true }",
                "b",
                "",
                "expected `default`",
            ),
            ("A = { default = \"\" }", "b", "", "lower-case"),
            ("a__b = { default = \"\" }", "b", "", "single underscores"),
            ("a = { default = \"\" }", "b-c", "", "lower-case"),
            ("a = { default = \"\" }", "b", "{{ c }}", "no variable `c`"),
            ("a = { default = \"\" }", "b", "{{ a", "without"),
        ] {
            let templates = Templates::from([(name.to_owned(), template.to_owned())]);
            let error = check(&variables(table), &templates).expect_err(table);
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
