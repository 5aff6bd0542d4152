//! What a component asks of its host, checked against what every host of ours links.
//!
//! Spin 3 and 4, `wasmtime serve` and our own host link the `wasi:http/proxy` world up to [`NEWEST`]. A newer or another import is found
//! here, when the component is built, rather than when somebody deploys it. A component whose models are outside of it imports wasi-nn as
//! well, and is for our host alone.

use anyhow::{Context, Result, ensure};
use wasmparser::{Parser, Payload};

use crate::build::Placement;
use crate::nn::wasi;
use crate::variables;

/// The newest version of WASI that Spin 3 links.
pub const NEWEST: (u32, u32, u32) = (0, 2, 6);

/// The interfaces of the `wasi:http/proxy` world, and those they are made of.
const PROXY: [&str; 11] = [
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
];

/// The names of `component`'s imports, checked.
///
/// # Errors
///
/// Bytes that do not parse, an interface outside the proxy world, or a version after [`NEWEST`]; wasi-nn where the models are inside.
pub fn checked(component: &[u8], placement: Placement) -> Result<Vec<String>> {
    let imports = imports(component)?;
    for import in &imports {
        check(import, placement)?;
    }
    Ok(imports)
}

/// The names of `component`'s imports.
///
/// # Errors
///
/// Bytes that do not parse.
pub(crate) fn imports(component: &[u8]) -> Result<Vec<String>> {
    let mut imports = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("parsing the component")? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Inner components are satisfied by the outer one.
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(imports)
}

fn check(import: &str, placement: Placement) -> Result<()> {
    let newest = || format!("{}.{}.{}", NEWEST.0, NEWEST.1, NEWEST.2);
    let (interface, version) = import
        .split_once('@')
        .with_context(|| format!("import `{import}`: expected an interface of WASI 0.2"))?;
    if (interface, version) == (variables::INTERFACE, variables::VERSION) {
        // Only a function whose manifest declares variables has this import; Spin and our host link it.
        return Ok(());
    }
    let nn = interface.strip_prefix(wasi::PACKAGE);
    if placement == Placement::Host
        && version == wasi::VERSION
        && nn.is_some_and(|name| wasi::INTERFACES.contains(&name))
    {
        return Ok(());
    }
    ensure!(
        PROXY.contains(&interface),
        "import `{import}`: not in the world `wasi:http/proxy`"
    );
    let version = parse(version)
        .with_context(|| format!("import `{import}`: expected a version of three numbers"))?;
    ensure!(
        (version.0, version.1) == (NEWEST.0, NEWEST.1) && version <= NEWEST,
        "import `{import}`: newer than WASI {}",
        newest()
    );
    Ok(())
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let parsed = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxy_world_up_to_0_2_6_passes() {
        let cases = [
            ("wasi:http/types@0.2.0", true),
            ("wasi:io/streams@0.2.6", true),
            ("wasi:io/streams@0.2.7", false),
            ("wasi:io/streams@0.3.0", false),
            ("wasi:io/streams@0.1.0", false),
            ("wasi:io/streams@0.2", false),
            ("wasi:io/streams@0.2.0.1", false),
            ("wasi:io/streams@0.2.0-rc", false),
            ("wasi:io/streams", false),
            ("wasi:filesystem/types@0.2.6", false),
            ("fermyon:spin/variables@2.0.0", true),
            ("fermyon:spin/variables@1.0.0", false),
            ("fermyon:spin/llm@2.0.0", false),
        ];
        for (import, passes) in cases {
            for placement in [Placement::Guest, Placement::Host] {
                assert_eq!(check(import, placement).is_ok(), passes, "{import}");
            }
        }
        for (import, passes) in [
            ("wasi:nn/graph@0.2.0-rc-2024-10-28", true),
            ("wasi:nn/errors@0.2.0-rc-2024-10-28", true),
            ("wasi:nn/other@0.2.0-rc-2024-10-28", false),
            ("wasi:nn/graph@0.2.0-rc-2024-08-19", false),
        ] {
            assert_eq!(check(import, Placement::Host).is_ok(), passes, "{import}");
            assert!(check(import, Placement::Guest).is_err(), "{import}");
        }
    }
}
