//! What a component asks of its host, checked against what every host of ours links.
//!
//! Spin 3 and 4, `wasmtime serve` and our own host link the `wasi:http/proxy` world up to [`NEWEST`]. A newer or another import is found
//! here, when the component is built, rather than when somebody deploys it. A component whose models are outside of it imports wasi-nn as
//! well, and is for our host alone. One that messages of Redis start may import files and Spin's Redis as well, as its trigger's hosts have
//! them; a command imports what plain `wasmtime run` links.

use anyhow::{Context, Result, ensure};
use wasmparser::{Parser, Payload};

use crate::build::Placement;
use crate::config::Function;
use crate::nn::wasi;
use crate::{outbound_redis, variables};

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

/// What a component may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    /// `wasi:http/proxy`, and Spin's variables.
    Proxy,
    /// The same, files, and Spin's Redis.
    Messages,
    /// `wasi:cli/imports` without sockets.
    Command,
}

impl World {
    fn of(function: &Function) -> Self {
        match function.serves_http() {
            true => Self::Proxy,
            false if function.is_command() => Self::Command,
            false => Self::Messages,
        }
    }

    /// As messages name it.
    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "the world `wasi:http/proxy`",
            Self::Messages => "what Spin's Redis trigger links",
            Self::Command => "what plain `wasmtime run` links",
        }
    }

    /// Whether it has this interface of WASI 0.2.
    fn has(self, interface: &str) -> bool {
        let (package, _) = interface.split_once('/').unwrap_or_default();
        match self {
            Self::Proxy => PROXY.contains(&interface),
            Self::Messages => PROXY.contains(&interface) || package == "wasi:filesystem",
            Self::Command => COMMAND.contains(&package),
        }
    }
}

/// Packages of `wasi:cli/imports`; sockets are nobody's here.
const COMMAND: [&str; 5] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:io",
    "wasi:random",
];

/// The names of the imports of `component`, which is a build of `function`, checked.
///
/// # Errors
///
/// Bytes that do not parse, an interface outside of the function's world, or a version after [`NEWEST`]; wasi-nn where the models are inside.
pub fn checked(component: &[u8], placement: Placement, function: &Function) -> Result<Vec<String>> {
    let imports = imports(component)?;
    for import in &imports {
        check(import, placement, World::of(function))?;
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

fn check(import: &str, placement: Placement, world: World) -> Result<()> {
    let newest = || format!("{}.{}.{}", NEWEST.0, NEWEST.1, NEWEST.2);
    let redis = [outbound_redis::INTERFACE, outbound_redis::TYPES];
    if world == World::Messages && redis.contains(&import) {
        return Ok(());
    }
    let (interface, version) = import
        .split_once('@')
        .with_context(|| format!("import `{import}`: expected an interface of WASI 0.2"))?;
    let variables = (interface, version) == (variables::INTERFACE, variables::VERSION);
    if variables && world != World::Command {
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
        world.has(interface),
        "import `{import}`: not in {}",
        world.name()
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
                assert_eq!(
                    check(import, placement, World::Proxy).is_ok(),
                    passes,
                    "{import}"
                );
            }
        }
        for (import, passes) in [
            ("wasi:nn/graph@0.2.0-rc-2024-10-28", true),
            ("wasi:nn/errors@0.2.0-rc-2024-10-28", true),
            ("wasi:nn/other@0.2.0-rc-2024-10-28", false),
            ("wasi:nn/graph@0.2.0-rc-2024-08-19", false),
        ] {
            assert_eq!(
                check(import, Placement::Host, World::Proxy).is_ok(),
                passes,
                "{import}"
            );
            assert!(
                check(import, Placement::Guest, World::Proxy).is_err(),
                "{import}"
            );
        }
    }

    #[test]
    fn each_world_has_its_own_interfaces() {
        for (import, messages, command) in [
            ("wasi:http/outgoing-handler@0.2.0", true, false),
            ("wasi:filesystem/types@0.2.0", true, true),
            ("wasi:filesystem/types@0.2.7", false, false),
            ("wasi:cli/environment@0.2.0", false, true),
            ("wasi:cli/stderr@0.2.6", true, true),
            ("wasi:sockets/tcp@0.2.0", false, false),
            ("fermyon:spin/redis@2.0.0", true, false),
            ("fermyon:spin/redis-types", true, false),
            ("fermyon:spin/variables@2.0.0", true, false),
            ("fermyon:spin/llm@2.0.0", false, false),
        ] {
            let passes = |world| check(import, Placement::Guest, world).is_ok();
            assert_eq!(passes(World::Messages), messages, "{import}");
            assert_eq!(passes(World::Command), command, "{import}");
        }
    }
}
