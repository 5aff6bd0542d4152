//! The built components: small enough, linked by every engine, started from their images without a copy.

use anyhow::Result;

use crate::runners::{self, Asked};

/// What an edge platform takes is 50 MiB. Ours: the OCR function's three models are 7 MiB together, the gait network's head alone 12.
const MAX_COMPONENT_BYTES: [(&str, u64); 3] =
    [("ocr", 12 << 20), ("gait", 20 << 20), ("infer", 24 << 20)];

/// Page faults of starting an instance. A mapped image costs some tens; copying 8 MiB would cost 2,000.
const MAX_START_FAULTS: u64 = 500;

#[test]
fn components_are_small() {
    for (name, limit) in MAX_COMPONENT_BYTES {
        let bytes = runners::artifact(name).report.component_bytes;
        assert!(bytes <= limit, "{name}: {bytes} bytes, limit is {limit}");
    }
}

/// Names and the highest version that Spin 3 links; `wasi:cli` only in what `wasi:http/proxy` includes, so that plain
/// `wasmtime serve` links it too.
#[test]
fn components_import_what_spin_3_links() {
    const ALLOWED: [&str; 6] = [
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:http/",
        "wasi:io/",
        "wasi:random/",
        "wasi:logging/",
    ];
    for artifact in runners::artifacts() {
        let imports = &artifact.report.imports;
        assert!(
            !imports.is_empty(),
            "an HTTP component imports something: {}",
            artifact.name
        );
        for import in imports {
            let (name, version) = import
                .split_once('@')
                .unwrap_or_else(|| panic!("{import} has no version"));
            assert!(
                ALLOWED.iter().any(|allowed| name.starts_with(allowed)),
                "{import}"
            );
            let parts: Vec<u32> = version
                .split('.')
                .filter_map(|part| part.parse().ok())
                .collect();
            assert!(matches!(parts[..], [0, 2, 0..=6]), "{import}");
        }
    }
}

/// Spin and `wasmtime serve` have Wasmtime's default settings, and copy an image that is too sparse at every start.
#[test]
fn images_are_mapped_by_every_engine() {
    for artifact in runners::artifacts() {
        let report = &artifact.report;
        let name = &artifact.name;
        assert!(report.maps_everywhere(), "{name}: {:?}", report.images);
    }
}

#[test]
fn starting_maps_the_image_and_copies_nothing() -> Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    for artifact in runners::artifacts() {
        let name = &artifact.name;
        let function = runners::HOST.app.function(name)?;
        executor.block_on(function.start_faults())?;
        let faults = executor.block_on(function.start_faults())?;
        assert!(
            faults <= MAX_START_FAULTS,
            "{name}: {faults} page faults, limit is {MAX_START_FAULTS}"
        );
    }
    Ok(())
}

#[test]
fn answers_tell_their_peak_memory_and_leave_no_instance() -> Result<()> {
    let large = runners::root().join("tests/cases/ocr/large-page/request.png");
    let answer = runners::host(&Asked::file(&large, "text/plain")?)?;
    let peak = answer.peak_bytes.expect("the host reports it");
    let limit = runners::PROJECT.function("ocr")?.limits.memory_bytes as u64;
    eprintln!("a page over 2048 px: {peak} bytes of linear memory");
    assert!((1 << 20..=limit).contains(&peak), "{peak} of {limit} bytes");
    Ok(())
}
