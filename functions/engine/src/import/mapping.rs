//! How integers stand for real numbers, and the tensors that this makes of each other.

use tract_onnx::tract_core::internal::*;

/// `real = scale * (integer - zero point)`, with one of each for the tensor, or one for each index along `axis`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mapping {
    /// Normal and positive.
    pub(crate) scales: Vec<f32>,
    /// As many as `scales`.
    pub(crate) zero_points: Vec<i32>,
    pub(crate) axis: usize,
    /// i8, u8, or for constants i32.
    pub(crate) integers: DatumType,
}

impl Eq for Mapping {}

impl Mapping {
    /// For a tensor of rank `rank`; a negative `axis` counts from the back, and one scale needs none.
    ///
    /// # Errors
    /// When the tensors are not the parameters of a quantisation.
    pub(crate) fn new(
        scales: &Tensor,
        zero_points: Option<&Tensor>,
        axis: i64,
        rank: usize,
    ) -> TractResult<Self> {
        let scales = elements::<f32>(scales)?;
        ensure!(!scales.is_empty(), "no scale");
        let usable = |scale: &&f32| !(scale.is_normal() && **scale > 0.0);
        if let Some(scale) = scales.iter().find(usable) {
            bail!("scale {scale} is not a positive number");
        }
        let integers = zero_points.map_or(u8::datum_type(), Tensor::datum_type);
        ensure!(
            [u8::datum_type(), i8::datum_type(), i32::datum_type()].contains(&integers),
            "zero point of type {integers:?}"
        );
        let zero_points = match zero_points {
            Some(zero_points) => elements::<i32>(zero_points)?,
            None => vec![0; scales.len()],
        };
        ensure!(
            zero_points.len() == scales.len(),
            "{} scales but {} zero points",
            scales.len(),
            zero_points.len()
        );
        let rank = rank as i64;
        let axis = match scales.len() {
            1 => 0,
            _ => {
                if axis < 0 {
                    axis + rank
                } else {
                    axis
                }
            }
        };
        ensure!(
            scales.len() == 1 || (0..rank).contains(&axis),
            "axis {axis} of rank {rank}"
        );
        Ok(Self {
            scales,
            zero_points,
            axis: axis as usize,
            integers,
        })
    }

    /// Whether a tensor of this shape has as many indices as there are scales.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) fn check(&self, extent: Option<&TDim>) -> TractResult<()> {
        let fits = self.scales.len() == 1 || extent == Some(&self.scales.len().to_dim());
        ensure!(
            fits,
            "{} scales for an axis of {extent:?}",
            self.scales.len()
        );
        Ok(())
    }

    /// The one scale and zero point.
    pub(crate) fn single(&self) -> TractResult<(f32, i32)> {
        match (&*self.scales, &*self.zero_points) {
            (&[scale], &[zero_point]) => Ok((scale, zero_point)),
            (scales, _) => bail!("activations with {} scales", scales.len()),
        }
    }

    /// The reals that integers stand for.
    pub(crate) fn dequantised(&self, integers: &Tensor) -> TractResult<Tensor> {
        self.check(
            integers
                .shape()
                .get(self.axis)
                .map(|extent| extent.to_dim())
                .as_ref(),
        )?;
        let values = elements::<i32>(integers)?;
        let real = |(index, &value): (usize, &i32)| {
            let (scale, zero_point) = self.at(index, integers.shape());
            scale * (i64::from(value) - i64::from(zero_point)) as f32
        };
        let reals: Vec<f32> = values.iter().enumerate().map(real).collect();
        Tensor::from_shape(integers.shape(), &reals)
    }

    /// The integers nearest to reals, half to even, saturated.
    pub(crate) fn quantised(&self, reals: &Tensor) -> TractResult<Tensor> {
        self.check(
            reals
                .shape()
                .get(self.axis)
                .map(|extent| extent.to_dim())
                .as_ref(),
        )?;
        let (low, high) = match self.integers == i8::datum_type() {
            true => (-128, 127),
            false => (0, 255),
        };
        ensure!(self.integers != i32::datum_type(), "quantised to 32 bits");
        let values = elements::<f32>(reals)?;
        let integer = |(index, &value): (usize, &f32)| {
            let (scale, zero_point) = self.at(index, reals.shape());
            // A cast of what is too large, or not a number, saturates, or is zero.
            (libm::rintf(value / scale) as i32)
                .saturating_add(zero_point)
                .clamp(low, high)
        };
        let integers: Vec<i32> = values.iter().enumerate().map(integer).collect();
        let integers = Tensor::from_shape(reals.shape(), &integers)?;
        Ok(integers.cast_to_dt(self.integers)?.into_owned())
    }

    fn at(&self, index: usize, shape: &[usize]) -> (f32, i32) {
        let inner: usize = shape.iter().skip(self.axis + 1).product();
        let along = index / inner.max(1) % self.scales.len();
        (self.scales[along], self.zero_points[along])
    }
}

/// A tensor's elements as `T`.
pub(crate) fn elements<T: Datum>(tensor: &Tensor) -> TractResult<Vec<T>> {
    Ok(tensor
        .cast_to::<T>()?
        .try_as_plain_ram()?
        .as_slice::<T>()?
        .to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(scales: &[f32], zero_points: &Tensor) -> TractResult<Mapping> {
        Mapping::new(&tensor1(scales), Some(zero_points), 0, 2)
    }

    #[test]
    fn maps_both_ways_along_an_axis() {
        let mapping = mapping(&[0.5, 2.0], &tensor1(&[0i8, 1])).expect("a mapping");
        let integers = tensor2(&[[2i8, -4, 127], [1, 2, -128]]);
        let reals = tensor2(&[[1.0f32, -2.0, 63.5], [0.0, 2.0, -258.0]]);
        assert_eq!(mapping.dequantised(&integers).expect("reals"), reals);
        assert_eq!(mapping.quantised(&reals).expect("integers"), integers);
        let edges = tensor2(&[[0.25f32, 0.75, 1e9], [-1e9, f32::NAN, 3.0]]);
        let expected = tensor2(&[[0i8, 2, 127], [-128, 1, 3]]);
        assert_eq!(mapping.quantised(&edges).expect("integers"), expected);
    }

    #[test]
    fn refuses_what_is_no_scale() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            assert!(mapping(&[scale], &tensor1(&[0i8])).is_err(), "{scale}");
        }
        assert!(mapping(&[], &tensor1::<i8>(&[])).is_err());
        assert!(mapping(&[1.0], &tensor1(&[0i8, 1])).is_err());
        assert!(mapping(&[1.0], &tensor1(&[0i64])).is_err());
        assert!(Mapping::new(&tensor1(&[1.0f32, 1.0]), None, 2, 2).is_err());
    }
}
