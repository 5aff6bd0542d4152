//! Operators that only move elements.

use anyhow::{bail, ensure};

use super::arena::Slice;
use super::lookup::Lookup;
use super::step::bytes;
use crate::kernels::Isa;

pub(super) fn repeat(
    factors: &[usize],
    x: &[i8],
    shape: &[usize],
    out: &mut [i8],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    let ([n, h, w, c], [fy, fx]) = (shape, factors) else {
        bail!("repeat of shape {shape:?} by {factors:?}")
    };
    ensure!(
        out_shape == [*n, h * fy, w * fx, *c],
        "{shape:?} by {factors:?} to {out_shape:?}"
    );
    let row_bytes = w * c;
    for (row, out_rows) in x
        .chunks_exact(row_bytes.max(1))
        .zip(out.chunks_exact_mut((row_bytes * fx * fy).max(1)))
    {
        let (first, others) = out_rows.split_at_mut(row_bytes * fx);
        for (pixel, out) in row.chunks_exact(*c).zip(first.chunks_exact_mut(c * fx)) {
            for out in out.chunks_exact_mut(*c) {
                out.copy_from_slice(pixel);
            }
        }
        for other in others.chunks_exact_mut(row_bytes * fx) {
            other.copy_from_slice(first);
        }
    }
    Ok(())
}

/// `tables`: what becomes of the bytes of each part.
pub(super) fn concat(
    isa: Isa,
    tables: &[Lookup<i8>],
    inputs: &[Slice],
    widths: &[usize],
    out: &mut [i8],
) -> anyhow::Result<()> {
    let total: usize = widths.iter().sum();
    ensure!(total > 0, "nothing to join");
    let rows = out.len() / total;
    let mut at = 0;
    for ((input, &width), table) in inputs.iter().zip(widths).zip(tables) {
        if width == 0 {
            continue;
        }
        let x = bytes(*input)?;
        ensure!(
            x.len() == rows * width,
            "{} elements of width {width} for {rows} rows",
            x.len()
        );
        let same = table.is_identity();
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(total)) {
            let out = &mut out[at..at + width];
            out.copy_from_slice(row);
            if !same {
                table.map(isa, out);
            }
        }
        at += width;
    }
    Ok(())
}

/// The same for reals.
pub(super) fn concat_reals(
    inputs: &[Slice],
    widths: &[usize],
    out: &mut [f32],
) -> anyhow::Result<()> {
    let total: usize = widths.iter().sum();
    ensure!(total > 0, "nothing to join");
    let mut at = 0;
    for (input, &width) in inputs.iter().zip(widths) {
        let Slice::F32(x) = input else {
            bail!("expected an f32 operand, got i8")
        };
        let rows = x.chunks_exact(width.max(1));
        for (row, out) in rows.zip(out.chunks_exact_mut(total)) {
            out[at..at + width].copy_from_slice(row);
        }
        at += width;
    }
    Ok(())
}

/// How many elements of each part stand together in the output, parts of `shapes` being joined along `axis`.
pub(super) fn widths(
    axis: usize,
    shapes: &[&[usize]],
    out_shape: &[usize],
) -> anyhow::Result<Vec<usize>> {
    let fits = |shape: &[usize]| {
        let others = shape.iter().zip(out_shape).enumerate();
        shape.len() == out_shape.len()
            && others
                .filter(|(at, _)| *at != axis)
                .all(|(_, (a, b))| a == b)
    };
    ensure!(
        axis < out_shape.len() && shapes.iter().all(|shape| fits(shape)),
        "parts of {shapes:?} along axis {axis} of {out_shape:?}"
    );
    let joined: usize = shapes.iter().map(|shape| shape[axis]).sum();
    ensure!(
        joined == out_shape[axis],
        "parts of {shapes:?} to {out_shape:?}"
    );
    Ok(shapes
        .iter()
        .map(|shape| shape[axis..].iter().product())
        .collect())
}

pub(super) fn transpose<T: Copy>(
    perm: &[usize],
    x: &[T],
    shape: &[usize],
    out: &mut [T],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    ensure!(
        x.len() == out.len() && perm.len() == shape.len(),
        "{shape:?} to {out_shape:?} by {perm:?}"
    );
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let strides: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
    let mut index = vec![0; out_shape.len()];
    let mut at = 0;
    for out in out {
        *out = x[at];
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < out_shape[axis] {
                break;
            }
            at -= strides[axis] * out_shape[axis];
            index[axis] = 0;
        }
    }
    Ok(())
}

pub(super) fn slice<T: Copy>(
    axis: usize,
    start: usize,
    x: &[T],
    shape: &[usize],
    out: &mut [T],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    let inner: usize = shape[axis + 1..].iter().product();
    let (from, to) = (shape[axis] * inner, out_shape[axis] * inner);
    ensure!(
        start + out_shape[axis] <= shape[axis],
        "{start} + {} of {}",
        out_shape[axis],
        shape[axis]
    );
    if to == 0 {
        return Ok(());
    }
    for (row, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        out.copy_from_slice(&row[start * inner..start * inner + to]);
    }
    Ok(())
}
