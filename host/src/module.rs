//! Core module -> component: debug information out, the preview-1 adapter in.
//!
//! In: the WebAssembly module that Cargo made for `wasm32-wasip1`. Out: a component that imports WASI 0.2 and exports an HTTP handler,
//! models not yet loaded. Running it is left to `snapshot`.

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The adapter that goes into every component: part of what a build depends on.
///
/// The proxy world has no file system, sockets, environment or exit, so a component that fits in it is linked by every host of
/// `wasi:http`.
pub(crate) const ADAPTER: &[u8] = WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;

/// Makes a component of `core`, without `core`'s debug information. The names of its functions stay: the log tells by them where a guest was
/// when it was ended.
///
/// # Errors
///
/// Not a module, or one whose imports the adapter and its own WIT worlds do not explain.
pub(crate) fn to_component(core: &[u8]) -> Result<Vec<u8>> {
    adapt(core, ADAPTER)
}

/// Makes a component of a module of others, which may want files and an environment.
///
/// # Errors
///
/// As [`to_component`].
pub(crate) fn to_wide_component(core: &[u8]) -> Result<Vec<u8>> {
    adapt(core, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
}

/// Makes a component of a program of others: what its `main` is becomes `wasi:cli/run`.
///
/// # Errors
///
/// As [`to_component`].
pub(crate) fn to_command(core: &[u8]) -> Result<Vec<u8>> {
    match exports(core, "_start")? {
        true => adapt(core, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
        false => to_wide_component(core),
    }
}

fn exports(core: &[u8], name: &str) -> Result<bool> {
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                if export?.name == name {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn adapt(core: &[u8], adapter: &[u8]) -> Result<Vec<u8>> {
    let core = strip(core).context("reading the core module")?;
    ComponentEncoder::default()
        .module(&core)
        .context("reading the module's WIT worlds")?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)
        .context("reading the WASI adapter")?
        .validate(true)
        .encode()
        .context("encoding the component")
}

/// `core` without the custom sections that only describe how it was made: producers, target features, DWARF.
fn strip(core: &[u8]) -> Result<Vec<u8>> {
    // Sections follow each other without gaps, so a section starts where the last one ended, and copying bytes is enough.
    let mut kept = Vec::with_capacity(core.len());
    let mut section_start = 0;
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        let end = match &payload {
            Payload::Version { range, .. } => range.end,
            Payload::CodeSectionStart { range, .. } => range.end,
            // Inside the code section, or after everything.
            Payload::CodeSectionEntry(_) | Payload::End(_) => continue,
            other => match other.as_section() {
                Some((_, range)) => range.end,
                None => continue,
            },
        };
        let only_describes = matches!(&payload, Payload::CustomSection(section)
            if describes(section.name()));
        if !only_describes {
            kept.extend_from_slice(&core[section_start..end]);
        }
        section_start = end;
    }
    Ok(kept)
}

fn describes(section: &str) -> bool {
    section == "producers" || section == "target_features" || section.starts_with(".debug_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of four custom sections around an empty type section, by hand: `\0asm`, version 1, then (id, size, name length, name).
    fn module() -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend(b"\x00\x06\x04keep1");
        bytes.extend(b"\x01\x01\x00");
        bytes.extend(b"\x00\x06\x04name1");
        bytes.extend(b"\x00\x0b\x09producers1");
        bytes.extend(b"\x00\x0d\x0b.debug_info1");
        bytes
    }

    #[test]
    fn only_descriptions_are_stripped() {
        let stripped = strip(&module()).expect("a module");
        let mut expected = b"\0asm\x01\0\0\0".to_vec();
        expected.extend(b"\x00\x06\x04keep1");
        expected.extend(b"\x01\x01\x00");
        expected.extend(b"\x00\x06\x04name1");
        assert_eq!(stripped, expected);
        assert_eq!(strip(&stripped).expect("a module"), stripped);
    }

    #[test]
    fn what_is_not_a_module_is_an_error() {
        assert!(to_component(b"no module").is_err());
        let truncated = &module()[..20];
        assert!(to_component(truncated).is_err());
    }
}
