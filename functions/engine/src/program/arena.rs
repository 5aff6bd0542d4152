//! Where each value lies while a program runs: one region for bytes, one for f32, places reused as values die.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::{Given, Program, ValueId};

/// The two element types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Element {
    I8,
    F32,
}

/// The place of every value, for one set of shapes.
#[derive(Debug)]
pub(super) struct Plan {
    /// First element in its region, and how many elements the value has. Constants have no place.
    places: Vec<Option<Place>>,
    i8_len: usize,
    f32_len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    len: usize,
    /// Elements behind the value that belong to it: room for one row of padding, and for reads past the last row.
    tail: usize,
}

/// Most elements of either type in one run, so that a hostile shape is an error and not an allocation.
const MAX_ELEMENTS: usize = 1 << 28;

impl Plan {
    /// Walks the steps once, giving each output the lowest free stretch that holds it.
    pub(super) fn new(program: &Program, shapes: &[Vec<usize>]) -> anyhow::Result<Self> {
        let mut last_use = vec![None; program.values.len()];
        for (index, step) in program.steps.iter().enumerate() {
            for &input in &step.inputs {
                last_use[input] = Some(index);
            }
        }
        for &output in &program.outputs {
            last_use[output] = Some(usize::MAX);
        }
        let mut planner = Planner {
            program,
            shapes,
            places: vec![None; program.values.len()],
            live: [vec![], vec![]],
        };
        for &input in &program.inputs {
            planner.place(input)?;
        }
        for (index, step) in program.steps.iter().enumerate() {
            planner.place(step.output)?;
            for &value in step.inputs.iter().chain([&step.output]) {
                if last_use[value].is_none_or(|last| last <= index) {
                    planner.free(value);
                }
            }
        }
        let end = |element: Element| {
            let of_element = |(value, place): (usize, &Option<Place>)| {
                place
                    .filter(|_| program.values[value].element == element)
                    .map(|place| place.start + place.len + place.tail)
            };
            planner
                .places
                .iter()
                .enumerate()
                .filter_map(of_element)
                .max()
                .unwrap_or(0)
        };
        Ok(Self {
            i8_len: end(Element::I8),
            f32_len: end(Element::F32),
            places: planner.places,
        })
    }

    /// Bytes of both regions.
    pub(super) fn bytes(&self) -> usize {
        self.i8_len + self.f32_len * size_of::<f32>()
    }

    fn range(&self, value: ValueId) -> std::ops::Range<usize> {
        let place = self.places[value].expect("every value but a constant has a place");
        place.start..place.start + place.len + place.tail
    }

    fn len(&self, value: ValueId) -> usize {
        self.places[value]
            .expect("every value but a constant has a place")
            .len
    }
}

struct Planner<'p> {
    program: &'p Program,
    shapes: &'p [Vec<usize>],
    places: Vec<Option<Place>>,
    /// Occupied stretches of each region, by start.
    live: [Vec<(usize, usize, ValueId)>; 2],
}

impl Planner<'_> {
    fn place(&mut self, value: ValueId) -> anyhow::Result<()> {
        if self.places[value].is_some() || self.program.values[value].constant.is_some() {
            return Ok(());
        }
        let shape = &self.shapes[value];
        // An empty axis does not excuse the others: loops run over them too.
        let bound = shape.iter().try_fold(1usize, |product, &extent| {
            product.checked_mul(extent.max(1))
        });
        ensure!(
            bound.is_some_and(|bound| bound <= MAX_ELEMENTS),
            "shape {shape:?} has over {MAX_ELEMENTS} elements"
        );
        let len = shape.iter().product();
        let element = self.program.values[value].element;
        let tail = match element {
            Element::I8 => shape.last().copied().unwrap_or(1) + READ_AHEAD,
            Element::F32 => 0,
        };
        let live = &mut self.live[element as usize];
        let mut start = 0;
        let mut index = 0;
        while index < live.len() && live[index].0 < start + len + tail {
            start = start.max(live[index].1);
            index += 1;
        }
        ensure!(
            start + len + tail <= MAX_ELEMENTS,
            "over {MAX_ELEMENTS} elements are needed at once"
        );
        live.insert(index, (start, start + len + tail, value));
        self.places[value] = Some(Place { start, len, tail });
        Ok(())
    }

    fn free(&mut self, value: ValueId) {
        for live in &mut self.live {
            live.retain(|&(_, _, occupant)| occupant != value);
        }
    }
}

/// Bytes that a kernel may read behind the last row: up to its step.
const READ_AHEAD: usize = crate::kernels::READ_AHEAD;

/// The memory of one run.
#[derive(Debug)]
pub(super) struct Arena {
    i8: Vec<i8>,
    f32: Vec<f32>,
}

/// One step's view of its values.
pub(super) struct View<'a> {
    pub(super) inputs: Vec<Slice<'a>>,
    pub(super) output: SliceMut<'a>,
}

/// A value to read; bytes come with their tail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slice<'a> {
    I8(&'a [i8], usize),
    F32(&'a [f32]),
}

/// A value to write; bytes come without their tail.
#[derive(Debug)]
pub(super) enum SliceMut<'a> {
    I8(&'a mut [i8]),
    F32(&'a mut [f32]),
}

impl Arena {
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Self> {
        Ok(Self {
            i8: zeroed(plan.i8_len)?,
            f32: zeroed(plan.f32_len)?,
        })
    }

    /// Copies a model input in.
    pub(super) fn load(&mut self, plan: &Plan, value: ValueId, given: Given) -> anyhow::Result<()> {
        let expected = plan.len(value);
        let actual = match given {
            Given::U8(bytes) => bytes.len(),
            Given::F32(values) => values.len(),
        };
        ensure!(
            expected == actual,
            "expected {expected} elements, got {actual}"
        );
        let start = plan.range(value).start;
        match given {
            Given::U8(bytes) => {
                // Pixels are kept as they are; the step that reads them knows.
                for (stored, &byte) in self.i8[start..start + expected].iter_mut().zip(bytes) {
                    *stored = byte as i8;
                }
            }
            Given::F32(values) => self.f32[start..start + expected].copy_from_slice(values),
        }
        Ok(())
    }

    /// An f32 value.
    pub(super) fn f32(&self, plan: &Plan, value: ValueId) -> &[f32] {
        &self.f32[plan.range(value)]
    }

    /// Fills the tail of a value of bytes with what stands for zero in it, and returns where the tail begins in the value's
    /// slice: a row of padding for window taps that fall outside.
    pub(super) fn pad(&mut self, plan: &Plan, value: ValueId, zero_point: i8) -> usize {
        let len = plan.len(value);
        let range = plan.range(value);
        self.i8[range.start + len..range.end].fill(zero_point);
        len
    }

    /// The slices of one step. Its inputs and its output are live together, so their places are apart.
    pub(super) fn view<'a>(
        &'a mut self,
        program: &'a Program,
        plan: &Plan,
        inputs: &[ValueId],
        output: ValueId,
    ) -> View<'a> {
        let out = plan.range(output);
        let out_len = plan.len(output);
        let is_i8 = program.values[output].element == Element::I8;
        let (i8_before, i8_out, i8_after) =
            carve(&mut self.i8, if is_i8 { out.clone() } else { 0..0 });
        let (f32_before, f32_out, f32_after) = carve(&mut self.f32, if is_i8 { 0..0 } else { out });
        let read = |&input: &ValueId| {
            let value = &program.values[input];
            if let Some(constant) = &value.constant {
                return Slice::F32(constant);
            }
            let range = plan.range(input);
            match value.element {
                Element::I8 => Slice::I8(
                    pick(i8_before, i8_out.len(), i8_after, range),
                    plan.len(input),
                ),
                Element::F32 => Slice::F32(pick(f32_before, f32_out.len(), f32_after, range)),
            }
        };
        let inputs = inputs.iter().map(read).collect();
        let output = if is_i8 {
            SliceMut::I8(&mut i8_out[..out_len])
        } else {
            SliceMut::F32(f32_out)
        };
        View { inputs, output }
    }
}

fn zeroed<T: Clone + Default>(len: usize) -> anyhow::Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .with_context(|| format!("no memory for {len} elements"))?;
    values.resize(len, T::default());
    Ok(values)
}

fn carve<T>(region: &mut [T], out: std::ops::Range<usize>) -> (&[T], &mut [T], &[T]) {
    let (before, rest) = region.split_at_mut(out.start);
    let (out, after) = rest.split_at_mut(out.end - out.start);
    (before, out, after)
}

fn pick<'a, T>(
    before: &'a [T],
    out: usize,
    after: &'a [T],
    range: std::ops::Range<usize>,
) -> &'a [T] {
    match range.start.checked_sub(before.len() + out) {
        Some(start) => &after[start..range.end - before.len() - out],
        None => &before[range],
    }
}
