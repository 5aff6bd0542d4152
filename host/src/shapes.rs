//! Shapes of a model's inputs: `x=1x3x736x736` on a command line -> tensors of that shape.
//!
//! What a graph costs depends on its inputs' shapes alone, so the values are zeros.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use ephemera_engine::{InputSpec, Manifest, Tensor};

/// An axis whose extent is a multiple, such as `32*h`, is taken to be as close to this as it can: a page, in pixels.
const USUAL_EXTENT: usize = 736;

/// An axis that counts something else is taken to be this long.
const USUAL_COUNT: usize = 10;

/// More elements than any function's memory would hold.
const MAX_ELEMENTS: usize = 1 << 28;

/// One input and its shape as the graph has it, `[N, C, ...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The input's name.
    pub name: String,
    /// Extents, outermost first.
    pub extents: Vec<usize>,
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let form = || format!("`{text}`: expected NAME=1x3x736x736");
        let (name, extents) = text.split_once('=').with_context(form)?;
        let extents: Result<Vec<usize>, _> = extents.split('x').map(str::parse).collect();
        let extents = extents.with_context(form)?;
        let elements = extents.iter().try_fold(1, |n: usize, &e| n.checked_mul(e));
        ensure!(
            elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)),
            "`{text}`: expected 1 to {MAX_ELEMENTS} elements"
        );
        Ok(Self {
            name: name.to_owned(),
            extents,
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, extents(&self.extents))
    }
}

/// `1x3x736x736`.
pub fn extents(extents: &[usize]) -> String {
    let extents: Vec<_> = extents.iter().map(ToString::to_string).collect();
    extents.join("x")
}

/// A usual shape of every input of `manifest`. A symbol has one value, wherever it stands.
///
/// # Errors
///
/// An axis that is neither a number nor a multiple of a symbol.
pub fn usual(manifest: &Manifest) -> Result<Vec<Shape>> {
    let mut symbols = BTreeMap::new();
    let mut shapes = Vec::new();
    for InputSpec { name, shape, .. } in &manifest.inputs {
        let mut extents = Vec::new();
        for dim in shape {
            extents.push(match dim.parts()? {
                (extent, None) => extent,
                (1, Some(symbol)) => *symbols.entry(symbol).or_insert(USUAL_COUNT),
                (factor, Some(symbol)) => {
                    let usual = USUAL_EXTENT.div_ceil(factor);
                    factor * *symbols.entry(symbol).or_insert(usual)
                }
            });
        }
        shapes.push(Shape {
            name: name.clone(),
            extents,
        });
    }
    Ok(shapes)
}

/// Zeros in these shapes: pixels `[N, H, W, 3] u8` where the model takes an image, `[N, T, H, W, 3] u8` where it takes a clip, f32
/// elsewhere.
///
/// # Errors
///
/// A name that the manifest does not have, an image that has not four or five axes.
pub fn zeros<'s>(manifest: &Manifest, shapes: &'s [Shape]) -> Result<Vec<(&'s str, Tensor)>> {
    let zero = |shape: &'s Shape| {
        let Shape { name, extents } = shape;
        let input = manifest.inputs.iter().find(|input| input.name == *name);
        let names = || manifest.inputs.iter().map(|input| input.name.as_str());
        let input = input.with_context(|| {
            let names: Vec<_> = names().collect();
            format!("no input `{name}`, the model has: {}", names.join(", "))
        })?;
        let count = extents.iter().product();
        let tensor = match (input.mean.is_empty(), extents.as_slice()) {
            (true, _) => Tensor::f32(extents, vec![0.0; count])?,
            (false, &[n, c, h, w]) => Tensor::u8(&[n, h, w, c], vec![0; count])?,
            (false, &[n, c, t, h, w]) => Tensor::u8(&[n, t, h, w, c], vec![0; count])?,
            (false, _) => bail!("`{shape}`: expected [N, C, H, W] or [N, C, T, H, W]"),
        };
        Ok((name.as_str(), tensor))
    };
    shapes.iter().map(zero).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest with an image and a plain input.
    pub(crate) fn manifest() -> Manifest {
        let text = r#"
            name = "m"
            version = "1"
            licence = "Apache-2.0"
            source = "s"
            source_sha256 = "0"
            sha256 = "0"
            training_data = "t"
            inputs = [
                { name = "x", shape = [1, 3, "32*h", "8*w"], mean = [0, 0, 0], std = [1, 1, 1] },
                { name = "t", shape = ["w", "n"] },
            ]
            outputs = [{ name = "y", shape = [1, 7] }]
        "#;
        Manifest::parse(text).expect("a whole manifest")
    }

    #[test]
    fn a_shape_is_read_and_written() {
        let shape: Shape = "x=1x3x32x8".parse().expect("a shape");
        let expected = Shape {
            name: "x".into(),
            extents: vec![1, 3, 32, 8],
        };
        assert_eq!(shape, expected);
        assert_eq!(shape.to_string(), "x=1x3x32x8");
        let huge = format!("x={0}x{0}", usize::MAX);
        for text in ["x", "x=", "x=1x", "x=1xa", "x=0x3", "x=99999x99999", &huge] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }

    #[test]
    fn usual_shapes_keep_symbols_equal() {
        let shapes = usual(&manifest()).expect("both are understood");
        let texts: Vec<_> = shapes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["x=1x3x736x736", "t=92x10"]);
    }

    #[test]
    fn zeros_have_the_form_that_the_model_takes() {
        let manifest = manifest();
        let shapes: Vec<Shape> = ["x=1x3x32x8", "t=1x2", "x=1x3x4x32x8"]
            .map(|text| text.parse().expect("a shape"))
            .to_vec();
        let zeros = zeros(&manifest, &shapes).expect("both inputs are there");
        assert_eq!(zeros[0].1.shape, [1, 32, 8, 3]);
        assert_eq!(zeros[1].1.as_f32(), Some(&[0.0, 0.0][..]));
        assert_eq!(zeros[2].1.shape, [1, 4, 32, 8, 3]);
        for text in ["y=1", "x=1x3"] {
            let shape = [text.parse().expect("a shape")];
            assert!(super::zeros(&manifest, &shape).is_err(), "{text}");
        }
    }
}
