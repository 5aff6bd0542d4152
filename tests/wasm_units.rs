//! The engine's own tests, compiled for WebAssembly: what its kernels promise must hold where they run.

use std::process::Command;

use crate::runners::root;

#[test]
fn unit_tests_of_the_engine_pass_in_webassembly() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let runner = format!("{} run --wasm relaxed-simd", env!("CARGO_BIN_EXE_wasmtime"));
    let output = Command::new(cargo)
        .args(["test", "--lib", "--package", "ephemera-engine"])
        // Without tract, as functions have it: importing and lowering happen on the machine that builds.
        .args(["--no-default-features", "--features", "relaxed-simd"])
        .args(["--target", "wasm32-wasip1"])
        .current_dir(root())
        .env("CARGO_TARGET_WASM32_WASIP1_RUNNER", runner)
        // Flags meant for native code would replace the target features that the workspace sets for its functions.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && words.contains("every_form_agrees_with_the_definition ... ok"),
        "{words}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
