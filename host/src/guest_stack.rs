//! Where a guest was when it ended: a trap's backtrace -> one line for the log.

use std::fmt::Write;

use wasmtime::WasmBacktrace;

use crate::guest_log::printable;

/// Longer names, which generic code has, are cut: twenty frames are still a line that one can read.
const MAX_NAME_CHARS: usize = 120;

/// The functions on the stack, innermost first, each with its offset in the module, as `name (0x1a2b) < name (0x3c4d)`. `None` when
/// nothing of the guest's was running, as when it could not be started.
pub(crate) fn of(error: &wasmtime::Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let mut line = String::new();
    for frame in frames {
        if !line.is_empty() {
            line.push_str(" < ");
        }
        match frame.func_name() {
            Some(name) => line.push_str(&readable(name)),
            None => {
                let _ = write!(line, "function {}", frame.func_index());
            }
        }
        if let Some(offset) = frame.module_offset() {
            let _ = write!(line, " ({offset:#x})");
        }
    }
    (!line.is_empty()).then_some(line)
}

/// What went wrong, without the stack.
pub(crate) fn cause(error: &wasmtime::Error) -> String {
    printable(error.root_cause().to_string().as_bytes())
}

/// A guest chooses its names: they are demangled, cut, and cannot forge a line.
fn readable(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let name = match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => &name[..end],
        None => &name,
    };
    printable(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_cannot_forge_lines() {
        let long = "x".repeat(500);
        for (name, expected) in [
            ("_ZN6unruly4spin17h0123456789abcdefE", "unruly::spin"),
            ("_RNvC6unruly4spin", "unruly::spin"),
            ("memcpy", "memcpy"),
            ("a\nERROR b\x1b[2J", "a\\nERROR b\\u{1b}[2J"),
            (&*long, &long[..MAX_NAME_CHARS]),
        ] {
            assert_eq!(readable(name), expected);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

        #[test]
        fn any_name_is_one_short_line(name in "(_ZN|_R)?\\PC{0,200}|.{0,200}") {
            let readable = readable(&name);
            proptest::prop_assert!(!readable.chars().any(char::is_control));
            // A control character is spelled out with at most ten.
            proptest::prop_assert!(readable.chars().count() <= 10 * MAX_NAME_CHARS);
        }
    }
}
