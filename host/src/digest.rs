//! SHA-256 of artefacts, and the one number that says whether precompiled code fits this engine.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// A SHA-256 in its usual spelling: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(String);

impl Sha256Hex {
    /// All of them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits, enough to tell artefacts of one folder apart.
    pub fn short(&self) -> &str {
        &self.0[..16]
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(format!(
                "expected 64 hexadecimal digits in lower case, got `{text}`"
            ))
        }
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Sha256Hex {
    finish(Sha256::new_with_prefix(bytes))
}

/// One hash over several inputs of a build step. Each goes in with its length, so that no two lists of inputs read the same.
#[derive(Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Adds an input.
    #[must_use]
    pub fn with(mut self, input: &[u8]) -> Self {
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// The hash over everything added.
    pub fn hash(self) -> Sha256Hex {
        finish(self.0)
    }
}

fn finish(hasher: Sha256) -> Sha256Hex {
    use std::fmt::Write;
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        write!(hex, "{byte:02x}").expect("a string takes every write");
    }
    Sha256Hex(hex)
}

/// 16 hexadecimal digits that differ whenever `engine` would refuse code that another engine compiled: its version, its settings, the
/// processor's features.
pub fn engine_key(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_inputs_counts() {
        let hash = |inputs: &[&[u8]]| {
            let all = inputs.iter().fold(Inputs::default(), |i, x| i.with(x));
            all.hash()
        };
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"ab"]), hash(&[b"ab", b""]));
    }

    #[test]
    fn a_known_digest() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_string(), expected);
        assert_eq!(sha256(b"abc").short(), "ba7816bf8f01cfea");
    }
}
