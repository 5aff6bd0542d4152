//! A value for each byte.

use crate::kernels::{self, Isa};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// 256 values, one for each byte; entry `i` belongs to the stored byte `i as u8 as i8`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup<T>(Box<[T; 256]>);

impl<T: Copy> Lookup<T> {
    /// `value(byte)` for each byte as stored.
    pub(crate) fn new(value: impl Fn(i8) -> T) -> Self {
        Self(Box::new(std::array::from_fn(|index| {
            value(index as u8 as i8)
        })))
    }

    #[inline(always)]
    pub(crate) fn at(&self, byte: i8) -> T {
        self.0[usize::from(byte as u8)]
    }
}

impl Lookup<i8> {
    /// Replaces each byte by its value.
    #[inline]
    pub(crate) fn map(&self, isa: Isa, bytes: &mut [i8]) {
        kernels::look_up(isa, &self.0, bytes);
    }

    /// Whether every byte stays what it is.
    pub(crate) fn is_identity(&self) -> bool {
        (i8::MIN..=i8::MAX).all(|byte| self.at(byte) == byte)
    }
}

impl<T: Serialize> Serialize for Lookup<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0[..].serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lookup<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<T>::deserialize(deserializer)?.into_boxed_slice();
        let count = values.len();
        let values = values
            .try_into()
            .map_err(|_| D::Error::custom(format!("a table of {count} values, expected 256")))?;
        Ok(Self(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_signed() {
        let twice = Lookup::new(|byte| i32::from(byte) * 2);
        for byte in [-128, -1, 0, 1, 127] {
            assert_eq!(twice.at(byte), i32::from(byte) * 2);
        }
    }
}
