//! The compiler targets that functions need, installed through rustup where they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;

/// What functions are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip1";

/// Installed together: the second is what `wasip1` modules become once the preview-1 adapter is no longer needed.
const TARGETS: [&str; 2] = [TARGET, "wasm32-wasip2"];

/// Makes sure that [`TARGET`] can be compiled for, in the toolchain that `root` uses.
///
/// # Errors
///
/// The target is missing and rustup is too, or cannot install it; the error says what to do.
pub(crate) fn ensure(root: &Path, progress: &Progress) -> Result<()> {
    if installed(root) {
        return Ok(());
    }
    progress.note(&format!(
        "the compiler target {TARGET} is missing: running `rustup target add {}`",
        TARGETS.join(" ")
    ));
    let status = Command::new("rustup")
        .args(["target", "add"])
        .args(TARGETS)
        .current_dir(root)
        .status();
    let advice = format!(
        "install the standard library for {TARGET}: `rustup target add {TARGET}`, or your distribution's package for it"
    );
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add` failed ({status}); {advice}"),
        Err(error) => Err(error).with_context(|| format!("cannot run rustup; {advice}")),
    }
}

/// Whether the toolchain has the target's standard library. Asks the compiler, so that toolchains without rustup count too.
fn installed(root: &Path) -> bool {
    let libdir = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root)
        .output();
    libdir.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(path.trim()).is_dir()
    })
}
