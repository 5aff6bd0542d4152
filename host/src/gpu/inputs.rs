//! What a model is checked with: its folder's `check/` pictures where they fit, else noise -> tensors by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use ephemera_engine::{InputSpec, Manifest, Tensor};
use ephemera_vision::{Options, Rgb, decode};

use crate::shapes;

/// Pictures of a model that are used at most, so that it takes seconds.
const MAX_PICTURES: usize = 32;

/// What a picture's missing columns and rows are filled with: mid-grey, as the functions do.
const GREY: u8 = 128;

/// Tensors by the manifest's names.
pub(super) type Inputs = Vec<(String, Tensor)>;

/// What to run the model in `folder` on, at least one set of inputs.
///
/// # Errors
///
/// A manifest with dimensions that are not understood.
pub(super) fn inputs(folder: &Path, manifest: &Manifest) -> Result<Vec<Inputs>> {
    let mut pictures: Vec<_> = std::fs::read_dir(folder.join("check"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    pictures.sort();
    let mut sets = Vec::new();
    for picture in pictures {
        let Ok(bytes) = std::fs::read(&picture) else {
            continue;
        };
        // Masks of pages and lists of numbers are beside them.
        let mask = picture
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mask"));
        let Ok(decoded) = decode(&bytes, &Options::new(usize::MAX)) else {
            continue;
        };
        if !mask && let Some(set) = of_picture(manifest, &decoded.rgb)? {
            sets.push(set);
        }
        if sets.len() == MAX_PICTURES {
            break;
        }
    }
    if sets.is_empty() {
        sets.push(noise(manifest)?);
    }
    Ok(sets)
}

/// The picture as the first input that takes pixels; the rest as in [`noise`]. `None` where it does not fit.
fn of_picture(manifest: &Manifest, picture: &Rgb) -> Result<Option<Inputs>> {
    let mut set = noise(manifest)?;
    let inputs = manifest.inputs.iter().zip(&mut set);
    let Some((spec, (_, tensor))) = inputs.into_iter().find(|(spec, _)| !spec.mean.is_empty())
    else {
        return Ok(None);
    };
    let Some(fitted) = fitted(spec, picture)? else {
        return Ok(None);
    };
    *tensor = fitted;
    Ok(Some(set))
}

/// `[1, H, W, 3]`, filled up to what the model takes; a clip is `[1, T, H, W, 3]`, its frames one below the other in the picture.
fn fitted(spec: &InputSpec, picture: &Rgb) -> Result<Option<Tensor>> {
    let parts: Vec<(usize, Option<&str>)> = spec
        .shape
        .iter()
        .map(|dim| dim.parts())
        .collect::<Result<_, _>>()?;
    let along = |part: (usize, Option<&str>), extent: usize| match part {
        (fixed, None) => (extent == fixed).then_some(extent),
        (factor, Some(_)) => Some(extent.next_multiple_of(factor)),
    };
    match parts[..] {
        [(1, None), _, height, width] => {
            let sides = along(height, picture.height).zip(along(width, picture.width));
            let Some((height, width)) = sides else {
                return Ok(None);
            };
            let mut pixels = Vec::with_capacity(height * width * 3);
            for y in 0..picture.height {
                pixels.extend(picture.row(y));
                pixels.resize((y + 1) * width * 3, GREY);
            }
            pixels.resize(height * width * 3, GREY);
            Ok(Some(Tensor::u8(&[1, height, width, 3], pixels)?))
        }
        [(1, None), _, (frames, None), (height, None), (width, None)] => {
            let fits = picture.height == frames * height && picture.width == width;
            if !fits {
                return Ok(None);
            }
            let shape = [1, frames, height, width, 3];
            Ok(Some(Tensor::u8(&shape, picture.data.clone())?))
        }
        _ => Ok(None),
    }
}

/// Noise in usual shapes, the same every time; a table's first row where an input is as long.
fn noise(manifest: &Manifest) -> Result<Inputs> {
    let shapes = shapes::usual(manifest)?;
    let by_name: BTreeMap<&str, &InputSpec> = manifest
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input))
        .collect();
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        // Xorshift, from Marsaglia's "Xorshift RNGs", with his shifts for 32 bits.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    let mut set = Vec::new();
    for shape in &shapes {
        let spec = by_name.get(shape.name.as_str()).context("an input")?;
        let count: usize = shape.extents.iter().product();
        let tensor = match (spec.mean.is_empty(), shape.extents.as_slice()) {
            (false, &[n, c, h, w]) => {
                Tensor::u8(&[n, h, w, c], (0..count).map(|_| next()).collect())?
            }
            (false, &[n, c, t, h, w]) => {
                Tensor::u8(&[n, t, h, w, c], (0..count).map(|_| next()).collect())?
            }
            (_, extents) => {
                let row = manifest.tables.iter().find(|table| table.columns == count);
                let row = row.and_then(|table| table.row(table.rows.first()?));
                let reals = match row {
                    Some(row) => row.to_vec(),
                    None => (0..count)
                        .map(|_| f32::from(next()) / 128.0 - 1.0)
                        .collect(),
                };
                Tensor::f32(extents, reals)?
            }
        };
        set.push((shape.name.clone(), tensor));
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    #[test]
    fn shipped_models_have_pictures_that_fit() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for (name, count) in [
            ("ocr-detector", 3),
            ("ocr-recogniser-latin", 24),
            ("gait-student", 3),
        ] {
            let folder = root.join(name);
            let model = models::read(&folder).expect("a model");
            let sets = inputs(&folder, &model.manifest).expect("inputs");
            assert_eq!(sets.len(), count, "{name}");
            for set in sets {
                assert_eq!(set.len(), model.manifest.inputs.len(), "{name}");
            }
        }
    }
}
