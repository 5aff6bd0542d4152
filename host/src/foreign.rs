//! Components of others: built by their own command, and taken as they are.
//!
//! In: the `source` of a component without a package of ours, a component or a WASI preview 1 module. Out: a component whose imports this
//! host has, or the name of one that it has not.

use std::path::{Component, Path};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wasmparser::Parser;

use crate::config::{BuildCommand, SpinKeys};
use crate::outbound::Hosts;
use crate::{imports, keyvalue, module, outbound_redis, variables};

/// Packages of WASI 0.2 that are linked for all; `wasi:sockets` among them, where every address is refused.
const WASI: [&str; 7] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:random",
    "wasi:sockets",
];

/// Runs `build`'s commands, one after the other.
///
/// # Errors
///
/// A folder outside the project, a command that fails; what it says is on standard error.
pub(crate) fn build(root: &Path, build: &BuildCommand) -> Result<()> {
    let folder = build.workdir.as_deref().unwrap_or(Path::new(""));
    let below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    ensure!(
        folder.components().all(below),
        "build.workdir: expected a folder below the project's, got `{}`",
        folder.display()
    );
    for command in &build.command {
        let status = Command::new("sh")
            .args(["-c", command])
            .current_dir(root.join(folder))
            // Standard output is ours: it may be read by a program.
            .stdout(std::io::stderr())
            .status()
            .with_context(|| format!("running `{command}`"))?;
        ensure!(status.success(), "`{command}` failed ({status})");
    }
    Ok(())
}

/// `file`, or the component that is made of it if it is a module: one that runs once, if it is a `command`.
///
/// # Errors
///
/// It is neither.
pub(crate) fn component(file: &[u8], command: bool) -> Result<Vec<u8>> {
    if Parser::is_component(file) {
        return Ok(file.to_vec());
    }
    ensure!(
        Parser::is_core_wasm(file),
        "`source` is neither a component nor a module of WebAssembly"
    );
    match command {
        true => module::to_command(file),
        false => module::to_wide_component(file),
    }
}

/// The names of `component`'s imports, all of which are linked for a component with `keys`.
///
/// # Errors
///
/// The first that is not.
pub(crate) fn imports(component: &[u8], keys: &SpinKeys) -> Result<Vec<String>> {
    let imports = imports::imports(component)?;
    for import in &imports {
        check(import, keys)?;
    }
    Ok(imports)
}

fn check(import: &str, keys: &SpinKeys) -> Result<()> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split('/').next().unwrap_or_default();
    if import == keyvalue::INTERFACE {
        ensure!(
            !keys.key_value_stores.is_empty(),
            "it imports `{import}`: add `key_value_stores = [\"{}\"]`",
            keyvalue::LABEL
        );
        return Ok(());
    }
    if import == outbound_redis::INTERFACE {
        let hosts = &keys.allowed_outbound_hosts;
        // Templates are filled in later; what they become is checked then.
        let plain: Vec<_> = hosts.iter().filter(|host| !host.contains("{{")).collect();
        ensure!(
            plain.len() < hosts.len() || Hosts::parse(&plain)?.allow_redis(),
            "it imports `{import}`: add `redis://host:port` to allowed_outbound_hosts"
        );
        return Ok(());
    }
    let told = (interface, version) == (variables::INTERFACE, variables::VERSION);
    let linked = WASI.contains(&package) && version.starts_with("0.2.");
    ensure!(
        told || linked || import == outbound_redis::TYPES,
        "it imports `{import}`, which is not supported here"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_that_are_not_linked_are_named() {
        let none = SpinKeys::default();
        let store = SpinKeys {
            key_value_stores: vec!["default".into()],
            ..SpinKeys::default()
        };
        let redis = SpinKeys {
            allowed_outbound_hosts: vec!["redis://queue:6379".into()],
            ..SpinKeys::default()
        };
        let cases = [
            ("fermyon:spin/redis@2.0.0", &redis, ""),
            (
                "fermyon:spin/redis@2.0.0",
                &none,
                "add `redis://host:port` to allowed_outbound_hosts",
            ),
            ("fermyon:spin/redis-types", &none, ""),
            ("wasi:http/types@0.2.0", &none, ""),
            ("wasi:sockets/tcp@0.2.6", &none, ""),
            ("wasi:http/types@0.3.0", &none, "not supported here"),
            ("fermyon:spin/variables@2.0.0", &none, ""),
            ("fermyon:spin/llm@2.0.0", &none, "`fermyon:spin/llm@2.0.0`"),
            ("fermyon:spin/key-value@2.0.0", &store, ""),
            (
                "fermyon:spin/key-value@2.0.0",
                &none,
                "add `key_value_stores = [\"default\"]`",
            ),
            ("env", &none, "`env`"),
        ];
        for (import, keys, expected) in cases {
            match check(import, keys) {
                Ok(()) => assert_eq!(expected, "", "{import}"),
                Err(error) => assert!(
                    !expected.is_empty() && error.to_string().contains(expected),
                    "{error}"
                ),
            }
        }
        assert!(component(b"#!/bin/sh", false).is_err());
    }

    #[test]
    fn commands_run_in_their_folder_one_after_the_other() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("sub")).expect("a folder");
        let mut commands = BuildCommand {
            command: vec!["echo 1 > a".into(), "cp a b".into()],
            workdir: Some("sub".into()),
            watch: vec![],
        };
        build(root.path(), &commands).expect("both succeed");
        assert!(root.path().join("sub/b").is_file());
        commands.command.insert(1, "exit 3".into());
        let error = build(root.path(), &commands).expect_err("it fails");
        assert!(error.to_string().contains("`exit 3` failed"), "{error}");
        commands.workdir = Some("../".into());
        assert!(build(root.path(), &commands).is_err());
    }
}
