//! A tensor as a guest hands it over <-> [`Tensor`], and what each costs.
//!
//! In: extents, an element type and bytes, any of which may be nonsense. Pictures are `u8`, all else `f32`; int8 stays inside a graph.

use std::sync::Arc;

use ephemera_engine::{Data, Tensor};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Axes that a tensor may have: more than any graph of ours, and few enough to be printed.
const MAX_AXES: usize = 8;

/// `wasi:nn/tensor.tensor-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // Most are only ever lifted, and refused.
pub(super) enum TensorType {
    #[component(name = "FP16")]
    Fp16,
    #[component(name = "FP32")]
    Fp32,
    #[component(name = "FP64")]
    Fp64,
    #[component(name = "BF16")]
    Bf16,
    #[component(name = "U8")]
    U8,
    #[component(name = "I32")]
    I32,
    #[component(name = "I64")]
    I64,
}

/// A tensor that the host holds for a guest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) extents: Vec<u32>,
    pub(super) kind: TensorType,
    /// Little-endian. Shared only while the guest is given a copy.
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Held {
    /// Bytes of this machine's memory that a tensor of so many axes and bytes takes.
    pub(super) fn cost(axes: usize, bytes: usize) -> usize {
        axes.saturating_mul(size_of::<u32>()).saturating_add(bytes)
    }

    /// Bytes of this machine's memory.
    pub(super) fn held_bytes(&self) -> usize {
        Self::cost(self.extents.len(), self.bytes.len())
    }

    /// Bytes that [`into_tensor`](Self::into_tensor) takes beside these: reals are copied, pixels are not.
    pub(super) fn copied_bytes(&self) -> usize {
        match self.kind {
            TensorType::U8 => 0,
            _ => self.bytes.len(),
        }
    }

    /// What a device takes.
    ///
    /// # Errors
    ///
    /// Other types than the two, too many axes, and bytes that are not as many as extents and type say; in words, for the guest.
    pub(super) fn into_tensor(self) -> Result<Tensor, String> {
        let axes = self.extents.len();
        if axes > MAX_AXES {
            return Err(format!("expected at most {MAX_AXES} axes, got {axes}"));
        }
        let shape: Vec<usize> = self.extents.iter().map(|&extent| extent as usize).collect();
        let tensor = match self.kind {
            TensorType::U8 => Tensor::u8(&shape, Arc::unwrap_or_clone(self.bytes)),
            TensorType::Fp32 => Tensor::f32_from_le_bytes(&shape, &self.bytes),
            other => return Err(format!("expected elements FP32 or U8, got {other:?}")),
        };
        tensor.map_err(|error| error.to_string())
    }

    /// What a guest gets; `None` for an extent that does not fit the interface.
    pub(super) fn from_tensor(tensor: Tensor) -> Option<Self> {
        let extents = tensor.shape.iter().map(|&extent| u32::try_from(extent));
        let extents = extents.collect::<Result<_, _>>().ok()?;
        let kind = match tensor.data {
            Data::U8(_) => TensorType::U8,
            Data::F32(_) => TensorType::Fp32,
        };
        let bytes = match tensor.data {
            Data::U8(bytes) => bytes,
            Data::F32(_) => tensor.le_bytes().into_owned(),
        };
        Some(Self {
            extents,
            kind,
            bytes: bytes.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [TensorType; 7] = [
        TensorType::Fp16,
        TensorType::Fp32,
        TensorType::Fp64,
        TensorType::Bf16,
        TensorType::U8,
        TensorType::I32,
        TensorType::I64,
    ];

    fn held(extents: &[u32], kind: TensorType, bytes: usize) -> Held {
        Held {
            extents: extents.to_vec(),
            kind,
            bytes: vec![0; bytes].into(),
        }
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let cases = [
            (held(&[1, 2], TensorType::Fp32, 8), Ok(())),
            (held(&[1, 2], TensorType::U8, 2), Ok(())),
            (held(&[0, 7], TensorType::U8, 0), Ok(())),
            (held(&[1, 2], TensorType::U8, 8), Err("does not hold 8")),
            (held(&[1, 2], TensorType::Fp32, 9), Err("9 bytes are not")),
            (held(&[1, 2], TensorType::Fp16, 4), Err("got Fp16")),
            (held(&[u32::MAX; 4], TensorType::U8, 4), Err("hold 4")),
            (held(&[1 << 31, 1 << 31, 4], TensorType::U8, 0), Err("hold")),
            (held(&[1; 9], TensorType::U8, 1), Err("8 axes, got 9")),
        ];
        for (tensor, expected) in cases {
            let what = format!("{tensor:?}");
            match (tensor.into_tensor(), expected) {
                (Ok(_), Ok(())) => {}
                (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
                (actual, _) => panic!("{what}: {actual:?}"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_tensor_comes_back_as_it_went_or_not_at_all(
            extents in prop::collection::vec(prop_oneof![0u32..4, any::<u32>()], 0..10),
            kind in prop::sample::select(&KINDS[..]),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let tensor = Held { extents, kind, bytes: bytes.into() };
            let width = match tensor.kind {
                TensorType::U8 => 1u128,
                TensorType::Fp32 => 4,
                _ => 0,
            };
            let elements = tensor.extents.iter().try_fold(1u128, |product, &extent| product.checked_mul(extent.into()));
            let sound = tensor.extents.len() <= MAX_AXES
                && width > 0
                && elements.is_some_and(|elements| elements.checked_mul(width) == Some(tensor.bytes.len() as u128));
            match tensor.clone().into_tensor() {
                Ok(inside) => {
                    prop_assert!(sound);
                    prop_assert_eq!(Held::from_tensor(inside), Some(tensor));
                }
                // An empty product may overflow on the way: [2^32 - 1, 2^32 - 1, 2^32 - 1, 0].
                Err(_) => prop_assert!(!sound || tensor.extents.contains(&0)),
            }
        }
    }
}
