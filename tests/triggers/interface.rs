//! What the component of the Redis trigger exports and imports, against the WIT that Spin's SDK has: names and types.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wit_component::DecodedWasm;
use wit_parser::{Handle, InterfaceId, Resolve, Type, TypeDefKind, WorldItem};

use crate::runners::root;

/// The folder of WIT in the crate of Spin's SDK, where Cargo keeps it.
fn spins_wit() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .args(["--filter-platform", "wasm32-wasip1", "--offline"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let sdk = packages
        .iter()
        .find(|package| package["name"] == "spin-sdk");
    let manifest = sdk.and_then(|sdk| sdk["manifest_path"].as_str());
    let manifest = PathBuf::from(manifest.context("spin-sdk")?);
    Ok(manifest.with_file_name("wit"))
}

/// A type, with everything that it is made of.
fn shape(resolve: &Resolve, of: &Type) -> String {
    let Type::Id(id) = of else {
        return format!("{of:?}").to_lowercase();
    };
    let definition = &resolve.types[*id];
    let maybe = |of: &Option<Type>| of.as_ref().map_or("_".to_owned(), |of| shape(resolve, of));
    match &definition.kind {
        TypeDefKind::Type(of) => shape(resolve, of),
        TypeDefKind::List(of) => format!("list<{}>", shape(resolve, of)),
        TypeDefKind::Option(of) => format!("option<{}>", shape(resolve, of)),
        TypeDefKind::Result(of) => format!("result<{}, {}>", maybe(&of.ok), maybe(&of.err)),
        TypeDefKind::Enum(of) => {
            let cases: Vec<_> = of.cases.iter().map(|case| case.name.clone()).collect();
            format!("enum {{ {} }}", cases.join(", "))
        }
        TypeDefKind::Variant(of) => {
            let cases = of.cases.iter();
            let cases: Vec<_> = cases
                .map(|case| format!("{}({})", case.name, maybe(&case.ty)))
                .collect();
            format!("variant {{ {} }}", cases.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{:?}>", resolve.types[*id].name),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{:?}>", resolve.types[*id].name),
        other => format!("{} {:?}", other.as_str(), definition.name),
    }
}

/// The functions of an interface, each with its parameters and its result.
fn functions(resolve: &Resolve, id: InterfaceId) -> Vec<String> {
    let functions = resolve.interfaces[id].functions.values();
    let functions = functions.map(|function| {
        let parameters = function.params.iter();
        let parameters: Vec<_> = parameters
            .map(|parameter| format!("{}: {}", parameter.name, shape(resolve, &parameter.ty)))
            .collect();
        let result = function.result.as_ref();
        let result = result.map_or("()".to_owned(), |of| shape(resolve, of));
        format!("{}({}) -> {result}", function.name, parameters.join(", "))
    });
    functions.collect()
}

/// The interface of this name, with its version if it has one.
fn interface(resolve: &Resolve, name: &str) -> Result<InterfaceId> {
    let found = resolve
        .interfaces
        .iter()
        .find(|(id, _)| resolve.id_of(*id).as_deref() == Some(name));
    Ok(found.with_context(|| format!("interface `{name}`"))?.0)
}

#[test]
fn what_messages_start_exports_and_asks_what_spin_has() -> Result<()> {
    let component = std::fs::read(&super::OCR_JOBS.component)?;
    let DecodedWasm::Component(ours, world) = wit_component::decode(&component)? else {
        anyhow::bail!("it is a component");
    };
    let mut spins = Resolve {
        all_features: true,
        ..Resolve::default()
    };
    spins.push_dir(spins_wit()?)?;

    let world = &ours.worlds[world];
    let names = |items: &mut dyn Iterator<Item = &WorldItem>| -> Vec<String> {
        items
            .filter_map(|item| match item {
                WorldItem::Interface { id, .. } => ours.id_of(*id),
                _ => None,
            })
            .collect()
    };
    let exports = names(&mut world.exports.values());
    assert_eq!(exports, ["fermyon:spin/inbound-redis"]);
    let handler = |resolve: &Resolve| -> Result<Vec<String>> {
        Ok(functions(
            resolve,
            interface(resolve, "fermyon:spin/inbound-redis")?,
        ))
    };
    assert_eq!(handler(&ours)?, handler(&spins)?);
    let expected = "handle-message(message: list<u8>) -> result<_, enum { success, error }>";
    assert_eq!(handler(&ours)?, [expected]);

    let imports = names(&mut world.imports.values());
    for name in ["fermyon:spin/redis@2.0.0", "fermyon:spin/variables@2.0.0"] {
        assert!(imports.iter().any(|import| import == name), "{imports:?}");
        let asked = functions(&ours, interface(&ours, name)?);
        let known = functions(&spins, interface(&spins, name)?);
        assert!(!asked.is_empty());
        for function in asked {
            assert!(
                known.contains(&function),
                "{name}: {function} in {known:#?}"
            );
        }
    }
    Ok(())
}
