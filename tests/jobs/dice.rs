//! Numbers that look random, from a seed that is printed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// What happens when.
pub(super) struct Dice(u64);

impl Dice {
    /// By the seed in `EPHEMERA_SEED`, or another one each time.
    pub(super) fn thrown() -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let any = since.map_or(1, |since| since.as_nanos() as u64);
        // Zero is the one number that xorshift cannot leave.
        let seed = number("EPHEMERA_SEED", any)? | 1;
        println!("EPHEMERA_SEED={seed}");
        Ok(Self(seed))
    }

    /// At least 0 and less than `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The number in an environment variable, or another if it is not set.
pub(super) fn number(variable: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => {
            let number = text.parse();
            number.with_context(|| format!("{variable}: expected a number, got `{text}`"))
        }
        Err(_) => Ok(otherwise),
    }
}
