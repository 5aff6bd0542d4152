//! Values at the border of a model.

use std::borrow::Cow;

use crate::Error;

/// A dense tensor, row-major (last axis contiguous).
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of `shape`.
    pub data: Data,
}

/// The two element types that cross a model's border; int8 stays inside the graph.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Pixels, 0..=255.
    U8(Vec<u8>),
    /// Anything else.
    F32(Vec<f32>),
}

impl Tensor {
    /// An f32 tensor.
    ///
    /// # Errors
    /// [`Error::Input`] when `data` has not as many elements as `shape` says.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Result<Self, Error> {
        check_len(shape, data.len())?;
        Ok(Self {
            shape: shape.to_vec(),
            data: Data::F32(data),
        })
    }

    /// A u8 tensor.
    ///
    /// # Errors
    /// [`Error::Input`] when `data` has not as many elements as `shape` says.
    pub fn u8(shape: &[usize], data: Vec<u8>) -> Result<Self, Error> {
        check_len(shape, data.len())?;
        Ok(Self {
            shape: shape.to_vec(),
            data: Data::U8(data),
        })
    }

    /// An f32 tensor of the bytes in which it crosses a border: little-endian, element by element.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not four bytes for each element that `shape` says.
    pub fn f32_from_le_bytes(shape: &[usize], bytes: &[u8]) -> Result<Self, Error> {
        let (elements, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(Error::Input(format!(
                "{} bytes are not a whole number of f32",
                bytes.len()
            )));
        }
        check_len(shape, elements.len())?;
        let values = elements.iter().map(|&bytes| f32::from_le_bytes(bytes));
        Self::f32(shape, values.collect())
    }

    /// The elements as bytes, little-endian; without a copy where they are bytes already.
    #[must_use]
    pub fn le_bytes(&self) -> Cow<'_, [u8]> {
        match &self.data {
            Data::U8(bytes) => Cow::Borrowed(bytes),
            Data::F32(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                Cow::Owned(bytes.collect())
            }
        }
    }

    /// Whether there are as many elements as the shape says.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.data {
            Data::U8(bytes) => check_len(&self.shape, bytes.len()),
            Data::F32(values) => check_len(&self.shape, values.len()),
        }
    }

    /// The elements of an f32 tensor; `None` for any other type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            Data::U8(_) => None,
        }
    }
}

fn check_len(shape: &[usize], actual: usize) -> Result<(), Error> {
    let expected = shape
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent));
    match expected {
        Some(expected) if expected == actual => Ok(()),
        _ => Err(Error::Input(format!(
            "shape {shape:?} does not hold {actual} elements"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_cross_a_border_as_little_endian_bytes() {
        // 1.0 is 0x3f800000, -2.5 is 0xc0200000.
        let bytes = [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0];
        let tensor = Tensor::f32_from_le_bytes(&[1, 2], &bytes).expect("two numbers");
        assert_eq!(tensor.as_f32(), Some(&[1.0, -2.5][..]));
        assert_eq!(*tensor.le_bytes(), bytes);
        let pixels = Tensor::u8(&[2], vec![7, 9]).expect("two bytes");
        assert!(matches!(pixels.le_bytes(), Cow::Borrowed([7, 9])));
    }

    #[test]
    fn bytes_that_are_not_the_shapes_are_refused() {
        for (shape, bytes) in [
            (&[2][..], 4),
            (&[1], 8),
            (&[1], 5),
            (&[], 0),
            (&[0, 3], 4),
            (&[usize::MAX, 2], 0),
            (&[usize::MAX / 2 + 1, 2], 0),
        ] {
            let refused = Tensor::f32_from_le_bytes(shape, &vec![0; bytes]);
            assert!(refused.is_err(), "{shape:?} of {bytes} bytes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_come_back_or_are_refused(
            shape in prop::collection::vec(0usize..5, 0..4),
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let elements: usize = shape.iter().product();
            match Tensor::f32_from_le_bytes(&shape, &bytes) {
                Ok(tensor) => {
                    prop_assert_eq!(bytes.len(), elements * 4);
                    prop_assert_eq!(&*tensor.le_bytes(), &bytes[..]);
                }
                Err(_) => prop_assert!(bytes.len() != elements * 4),
            }
        }
    }
}
