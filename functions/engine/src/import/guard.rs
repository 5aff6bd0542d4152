//! Room and a net for what reads a file that anyone may have made.

use crate::Error;

/// Runs `import`, in which a panic of tract's becomes an error, with a stack for deeply nested dimensions.
///
/// # Errors
/// What `import` returns, and [`Error::Load`] when it panics.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn guarded<R: Send>(
    import: impl FnOnce() -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let failed = |what: String| Error::Load(anyhow::Error::msg(what));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("import".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn_scoped(scope, import);
        let thread = thread.map_err(|error| failed(format!("no thread to import in: {error}")))?;
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("no message");
            Err(failed(format!("the importer panicked: {text}")))
        })
    })
}

/// The same where there are no threads, and a panic ends the instance.
#[cfg(target_family = "wasm")]
pub(crate) fn guarded<R>(import: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    import()
}

/// Address space, of which only what is touched takes memory.
#[cfg(not(target_family = "wasm"))]
const STACK_BYTES: usize = 1 << 28;
