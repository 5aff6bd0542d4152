//! What starts components beside HTTP: messages of Redis, and a command that runs once.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::Project;
use super::manifest::{Application, Triggers};
use crate::variables::{self, Templates};

/// What may start a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// A request: it exports `wasi:http/incoming-handler`.
    Http,
    /// A message of Redis: it exports `fermyon:spin/inbound-redis`.
    Redis,
    /// A command, which runs once: it exports `wasi:cli/run`.
    Command,
}

/// One `[[trigger.redis]]`, as the manifest has it: address and channel may name variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedisTrigger {
    address: String,
    channel: String,
    component: String,
}

/// Messages of a channel, and the component that they start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    /// The server's URL. It may hold a password.
    pub address: String,
    /// The channel's name.
    pub channel: String,
    /// The component.
    pub component: String,
}

/// What starts each component, in order and once.
pub(super) fn starts(triggers: &Triggers) -> BTreeMap<String, Vec<Start>> {
    let http = triggers.http.iter().map(|t| (&t.component, Start::Http));
    let redis = triggers.redis.iter().map(|t| (&t.component, Start::Redis));
    let command = triggers
        .command
        .iter()
        .map(|t| (&t.component, Start::Command));
    let mut starts: BTreeMap<String, Vec<Start>> = BTreeMap::new();
    for (component, start) in http.chain(redis).chain(command) {
        let of_component = starts.entry(component.clone()).or_default();
        if !of_component.contains(&start) {
            of_component.push(start);
        }
    }
    starts
}

/// Whether a component can be started in all the ways of `starts`.
///
/// # Errors
///
/// A command that something else starts as well, and a function of a `package` that has the world of requests and that of messages.
pub(super) fn check(starts: &[Start], has_package: bool) -> Result<()> {
    ensure!(
        !starts.contains(&Start::Command) || starts.len() == 1,
        "trigger.command: a command has no other trigger"
    );
    ensure!(
        !has_package || starts.len() <= 1,
        "trigger.redis: a function that is built from a `package` has one kind of triggers, and trigger.http is another"
    );
    Ok(())
}

impl RedisTrigger {
    /// Those of the manifest, each with an address.
    ///
    /// # Errors
    ///
    /// None has an address, or a template names a variable that is not declared.
    pub(super) fn all(application: &Application, triggers: &mut Triggers) -> Result<Vec<Self>> {
        let common = application.trigger.as_ref();
        let common = common.and_then(|triggers| triggers.redis.as_ref());
        let all = triggers.redis.drain(..).map(|trigger| {
            let address = trigger.address.or_else(|| common?.address.clone());
            let address = address.with_context(|| {
                let channel = &trigger.channel;
                format!(
                    "trigger.redis of channel `{channel}` has no address: set it in [application.trigger.redis]"
                )
            })?;
            ensure!(!trigger.channel.is_empty(), "trigger.redis: a channel has a name");
            Ok(Self { address, channel: trigger.channel, component: trigger.component })
        });
        all.collect()
    }

    /// The component that it starts.
    pub(super) fn component(&self) -> &str {
        &self.component
    }

    /// What of it may name variables.
    pub(super) fn templates(&self) -> Templates {
        let named = [("address", &self.address), ("channel", &self.channel)];
        named
            .map(|(name, text)| (name.to_owned(), text.clone()))
            .into()
    }
}

impl Project {
    /// The channels that components of `names` are subscribed to, or all components of none is named. Variables are filled in.
    ///
    /// # Errors
    ///
    /// A required variable that nothing sets.
    pub fn subscriptions(&self, names: &[String]) -> Result<Vec<Subscription>> {
        let environment = |key: &str| std::env::var(key).ok();
        let fill = |text: &str| variables::fill(&self.variables, text, environment);
        self.redis
            .iter()
            .filter(|trigger| names.is_empty() || names.contains(&trigger.component))
            .map(|trigger| {
                Ok(Subscription {
                    address: fill(&trigger.address).context("trigger.redis: address")?,
                    channel: fill(&trigger.channel).context("trigger.redis: channel")?,
                    component: trigger.component.clone(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = r#"
spin_manifest_version = 2
[application]
name = "worker"
[application.trigger.redis]
address = "redis://{{ host }}:6379"
[variables]
host = { default = "queue" }
[[trigger.redis]]
channel = "pages-{{ host }}"
component = "reader"
[[trigger.redis]]
id = "other"
address = "redis://elsewhere"
channel = "b"
component = "both"
[[trigger.http]]
route = "/b"
component = "both"
[[trigger.command]]
component = "batch"
[component.reader]
source = "reader.wasm"
[component.both]
source = "both.wasm"
[component.batch]
source = "batch.wasm"
"#;

    #[test]
    fn triggers_start_components() {
        let project = Project::parse(GOOD, Path::new("/shop")).expect("the manifest is good");
        for (name, starts) in [
            ("reader", &[Start::Redis][..]),
            ("both", &[Start::Http, Start::Redis]),
            ("batch", &[Start::Command]),
        ] {
            assert_eq!(project.functions[name].starts, starts, "{name}");
        }
        let subscription = |address: &str, channel: &str, component: &str| Subscription {
            address: address.to_owned(),
            channel: channel.to_owned(),
            component: component.to_owned(),
        };
        let reader = subscription("redis://queue:6379", "pages-queue", "reader");
        let both = subscription("redis://elsewhere", "b", "both");
        let of = |names: &[String]| project.subscriptions(names).expect("all are set");
        assert_eq!(of(&[]), [reader.clone(), both]);
        assert_eq!(of(&["reader".to_owned()]), [reader]);
        assert_eq!(of(&["batch".to_owned()]), []);
    }

    #[test]
    fn keys_that_would_have_no_effect_are_refused() {
        let package = "tool.ephemera = { package = \"a\" }\n";
        for (component, keys, expected) in [
            (
                "batch",
                "tool.ephemera = { max_answer_mib = 5 }",
                "max_answer_mib",
            ),
            (
                "reader",
                "tool.ephemera = { max_answer_mib = 5 }",
                "max_answer_mib",
            ),
            ("reader", "tool.ephemera = { example = \"x\" }", "example"),
            (
                "batch",
                "tool.ephemera = { run = { path = \"/a\", takes = \"pictures\" } }",
                "tool.ephemera.run: expected a function that answers requests",
            ),
            (
                "reader",
                &format!("{package}environment = {{ A = \"1\" }}"),
                "environment",
            ),
            (
                "batch",
                &format!("{package}allowed_outbound_hosts = [\"https://a\"]"),
                "allowed_outbound_hosts",
            ),
            ("both", package, "trigger.redis: a function that is built"),
        ] {
            let table = format!("[component.{component}]\n");
            let text = GOOD.replacen(&table, &format!("{table}{keys}\n"), 1);
            let error = Project::parse(&text, Path::new("/shop")).expect_err(keys);
            let error = format!("{error:#}");
            let named = format!("component `{component}`: ");
            assert!(
                error.contains(&named) && error.contains(expected),
                "{error}"
            );
        }
        for (component, keys) in [
            (
                "both",
                "tool.ephemera = { max_answer_mib = 5, example = \"x\" }",
            ),
            ("reader", "environment = { A = \"1\" }"),
            ("batch", &format!("{package}environment = {{ A = \"1\" }}")),
        ] {
            let table = format!("[component.{component}]\n");
            let text = GOOD.replacen(&table, &format!("{table}{keys}\n"), 1);
            Project::parse(&text, Path::new("/shop")).expect(keys);
        }
    }

    #[test]
    fn what_is_wrong_with_a_trigger_is_named() {
        for (replace, by, expected) in [
            (
                "address = \"redis://{{ host }}:6379\"",
                "",
                "channel `pages-{{ host }}` has no address",
            ),
            ("{{ host }}:6379", "{{ port }}", "no variable `port`"),
            ("pages-{{ host }}", "{{ port }}", "no variable `port`"),
            ("pages-{{ host }}", "", "a channel has a name"),
            (
                "component = \"batch\"",
                "component = \"x\"",
                "no [component.x]",
            ),
            (
                "component = \"reader\"",
                "component = \"x\"",
                "no [component.x]",
            ),
            (
                "component = \"reader\"",
                "component = \"reader\"\npattern = true",
                "unknown field `pattern`",
            ),
            (
                "[application.trigger.redis]",
                "[application.trigger.mqtt]",
                "`application.trigger.mqtt` is not supported",
            ),
            (
                "component = \"batch\"",
                "component = \"reader\"",
                "component `reader`: trigger.command: a command has no other trigger",
            ),
            (
                "[[trigger.command]]",
                "[[trigger.cron]]",
                "`trigger.cron` is not supported",
            ),
        ] {
            let text = GOOD.replacen(replace, by, 1);
            let error = Project::parse(&text, Path::new("/shop")).expect_err(by);
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{by}: {error}");
        }
    }
}
