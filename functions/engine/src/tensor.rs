//! Values at the border of a model.

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
