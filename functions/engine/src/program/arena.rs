//! Where each value lies while a program runs: one region of bytes, places shared by values that are not alive together.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::{Given, Program, Step, ValueId};
use crate::kernels::READ_AHEAD;

/// The two element types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Element {
    I8,
    F32,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::F32 => size_of::<f32>(),
        }
    }
}

/// The place of every value, for one set of shapes.
#[derive(Debug)]
pub(super) struct Plan {
    /// Constants, and values that nothing makes or reads, have no place.
    places: Vec<Option<Place>>,
    /// In the region.
    bytes: usize,
    /// For each step, the operand that its output takes the place of.
    in_place: Vec<Option<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// First byte in the region; a multiple of [`ALIGN`].
    start: usize,
    /// Elements of the value.
    len: usize,
    /// Elements behind the value that belong to it: room for a row of padding, and for reads past the last row.
    tail: usize,
    element: Element,
}

/// Places begin at multiples of this many bytes: a cache line.
const ALIGN: usize = 64;

/// Most bytes in one run, so that a hostile shape is an error and not an allocation.
const MAX_BYTES: usize = 1 << 30;

/// An allocation beyond this has a mapping of its own with glibc, whatever was allocated before, and goes back to the kernel when it is
/// freed: the upper bound of the dynamic `M_MMAP_THRESHOLD`, mallopt(3).
const OWN_MAPPING_BYTES: usize = 32 << 20;

/// Regions below this stay on the heap: what they would leave behind is small, and a mapping costs more than they do.
const SMALL_BYTES: usize = 1 << 20;

impl Place {
    fn bytes(&self) -> std::ops::Range<usize> {
        self.start..self.start + (self.len + self.tail) * self.element.bytes()
    }
}

/// A stretch of the region while it is planned: the values that share it are alive one after the other, each made of the one
/// before in place.
#[derive(Debug)]
struct Stretch {
    bytes: usize,
    /// The step that makes the first, and the last that reads the last.
    alive: (usize, usize),
    start: usize,
}

impl Plan {
    /// Gives every value a stretch of the region, larger ones first, each the lowest that is free for as long as it lives.
    pub(super) fn new(program: &Program, shapes: &[Vec<usize>]) -> anyhow::Result<Self> {
        let last_use = last_uses(program);
        let mut planner = Planner {
            program,
            shapes,
            places: vec![None; program.values.len()],
            stretch_of: vec![None; program.values.len()],
            stretches: vec![],
        };
        for &input in &program.inputs {
            planner.make(input, 0, last_use[input])?;
        }
        let mut in_place = vec![None; program.steps.len()];
        for (index, step) in program.steps.iter().enumerate() {
            let dies = |operand: usize| last_use[step.inputs[operand]] == Some(index);
            in_place[index] = planner.shared(step).filter(|&operand| dies(operand));
            match in_place[index] {
                Some(operand) => {
                    planner.take_over(step.inputs[operand], step.output, last_use[step.output])?;
                }
                None => planner.make(step.output, index, last_use[step.output])?,
            }
        }
        let bytes = lay_out(&mut planner.stretches);
        ensure!(
            bytes <= MAX_BYTES,
            "{bytes} bytes of activations, limit is {MAX_BYTES}"
        );
        for (place, stretch) in planner.places.iter_mut().zip(&planner.stretch_of) {
            if let (Some(place), Some(stretch)) = (place, stretch) {
                place.start = planner.stretches[*stretch].start;
            }
        }
        Ok(Self {
            places: planner.places,
            bytes,
            in_place,
        })
    }

    /// Bytes of the region.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&self, value: ValueId) -> &Place {
        self.places[value]
            .as_ref()
            .expect("every value that a step uses has a place")
    }
}

/// The last step that reads each value.
fn last_uses(program: &Program) -> Vec<Option<usize>> {
    let mut last_use = vec![None; program.values.len()];
    for (index, step) in program.steps.iter().enumerate() {
        for &input in &step.inputs {
            last_use[input] = Some(index);
        }
    }
    for &output in &program.outputs {
        last_use[output] = Some(usize::MAX);
    }
    last_use
}

/// Places the stretches; returns where the last ends.
fn lay_out(stretches: &mut [Stretch]) -> usize {
    let mut order: Vec<usize> = (0..stretches.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(stretches[index].bytes));
    // Those that are placed, by where they start.
    let mut placed: Vec<usize> = vec![];
    let mut end = 0;
    for index in order {
        let Stretch { bytes, alive, .. } = stretches[index];
        let mut start = 0;
        for &other in &placed {
            let other = &stretches[other];
            let together = other.alive.0 <= alive.1 && alive.0 <= other.alive.1;
            if !together {
                continue;
            }
            if other.start >= start + bytes {
                break;
            }
            start = start.max(other.start + other.bytes);
        }
        stretches[index].start = start;
        end = end.max(start + bytes);
        let at = placed.partition_point(|&other| stretches[other].start < start);
        placed.insert(at, index);
    }
    end
}

struct Planner<'p> {
    program: &'p Program,
    shapes: &'p [Vec<usize>],
    places: Vec<Option<Place>>,
    /// Index in `stretches`.
    stretch_of: Vec<Option<usize>>,
    stretches: Vec<Stretch>,
}

impl Planner<'_> {
    /// Gives a value that step `index` makes a stretch of its own.
    fn make(&mut self, value: ValueId, index: usize, last: Option<usize>) -> anyhow::Result<()> {
        if self.places[value].is_some() || self.program.values[value].constant.is_some() {
            return Ok(());
        }
        let place = self.sized(value)?;
        self.places[value] = Some(place);
        self.stretch_of[value] = Some(self.stretches.len());
        self.stretches.push(Stretch {
            bytes: place.bytes().len().next_multiple_of(ALIGN),
            alive: (index, last.unwrap_or(index)),
            start: 0,
        });
        Ok(())
    }

    /// Gives `value` the stretch of `operand`, which dies as it is made.
    fn take_over(
        &mut self,
        operand: ValueId,
        value: ValueId,
        last: Option<usize>,
    ) -> anyhow::Result<()> {
        let place = self.sized(value)?;
        self.places[value] = Some(place);
        let stretch = self.stretch_of[operand].expect("what is shared has a stretch");
        self.stretch_of[value] = Some(stretch);
        let stretch = &mut self.stretches[stretch];
        let bytes = place.bytes().len().next_multiple_of(ALIGN);
        stretch.bytes = stretch.bytes.max(bytes);
        stretch.alive.1 = last.map_or(stretch.alive.1, |last| stretch.alive.1.max(last));
        Ok(())
    }

    /// The operand that the step's output could take the place of, were it not read again.
    fn shared(&self, step: &Step) -> Option<usize> {
        let fits = |&operand: &usize| {
            let input = step.inputs[operand];
            let (from, to) = (
                &self.program.values[input],
                &self.program.values[step.output],
            );
            let elements = |value: ValueId| {
                let extents = self.shapes[value].iter().copied();
                extents.fold(1, usize::saturating_mul)
            };
            let once = step.inputs.iter().filter(|&&other| other == input).count() == 1;
            once && from.constant.is_none()
                && self.places[step.output].is_none()
                && from.element == to.element
                && elements(input) == elements(step.output)
        };
        step.op.in_place().iter().copied().find(fits)
    }

    /// The place of a value, yet without its start.
    fn sized(&self, value: ValueId) -> anyhow::Result<Place> {
        let shape = &self.shapes[value];
        // An empty axis does not excuse the others: loops run over them too.
        let bound = shape.iter().try_fold(1usize, |product, &extent| {
            product.checked_mul(extent.max(1))
        });
        ensure!(
            bound.is_some_and(|bound| bound <= MAX_BYTES / size_of::<f32>()),
            "shape {shape:?} has over {} elements",
            MAX_BYTES / size_of::<f32>()
        );
        let element = self.program.values[value].element;
        let tail = match element {
            Element::I8 => shape.last().copied().unwrap_or(1) + READ_AHEAD,
            Element::F32 => 0,
        };
        Ok(Place {
            start: 0,
            len: shape.iter().product(),
            tail,
            element,
        })
    }
}

/// The memory of one run.
#[derive(Debug)]
pub(super) struct Arena {
    /// The region, in a type that makes it aligned for every element.
    region: Vec<u64>,
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
    /// What the output already holds.
    InPlace,
}

/// A value to write; bytes come without their tail.
#[derive(Debug)]
pub(super) enum SliceMut<'a> {
    I8(&'a mut [i8]),
    F32(&'a mut [f32]),
}

impl Arena {
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let words = plan.bytes.div_ceil(size_of::<u64>());
        // Where one process runs many graphs, a heap would keep the largest region for ever, once for each thread. What is reserved beyond
        // the region is never touched, so it is address space alone.
        let own_mapping = !cfg!(target_family = "wasm") && plan.bytes > SMALL_BYTES;
        let reserved = words.max(if own_mapping {
            OWN_MAPPING_BYTES / size_of::<u64>() + 1
        } else {
            0
        });
        let mut region = Vec::new();
        region
            .try_reserve_exact(reserved)
            .with_context(|| format!("no memory for {} bytes of activations", plan.bytes))?;
        region.resize(words, 0);
        Ok(Self { region })
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.region)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.region)
    }

    /// Copies a model input in.
    pub(super) fn load(&mut self, plan: &Plan, value: ValueId, given: Given) -> anyhow::Result<()> {
        let place = plan.place(value);
        let (actual, bytes): (usize, &[u8]) = match given {
            // Pixels are kept as they are; the step that reads them knows.
            Given::U8(bytes) => (bytes.len(), bytes),
            Given::F32(values) => (values.len(), bytemuck::cast_slice(values)),
        };
        ensure!(
            place.len == actual && bytes.len() == actual * place.element.bytes(),
            "expected {} elements, got {actual}",
            place.len
        );
        self.bytes_mut()[place.start..place.start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// An f32 value.
    pub(super) fn f32(&self, plan: &Plan, value: ValueId) -> &[f32] {
        bytemuck::cast_slice(&self.bytes()[plan.place(value).bytes()])
    }

    /// Fills the tail of a value of bytes with what stands for zero in it, and returns where the tail begins in the value's
    /// slice: a row of padding for window taps that fall outside.
    pub(super) fn pad(&mut self, plan: &Plan, value: ValueId, zero_point: i8) -> usize {
        let place = plan.place(value);
        let bytes = place.bytes();
        self.bytes_mut()[bytes.start + place.len..bytes.end].fill(zero_point as u8);
        place.len
    }

    /// The slices of step `index`.
    pub(super) fn view<'a>(
        &'a mut self,
        program: &'a Program,
        plan: &Plan,
        index: usize,
    ) -> View<'a> {
        let step = &program.steps[index];
        let out = plan.place(step.output);
        let region = self.bytes_mut();
        let (before, rest) = region.split_at_mut(out.start);
        let (output, after) = rest.split_at_mut(out.bytes().len());
        let after_start = out.bytes().end;
        let read = |(operand, &input): (usize, &ValueId)| {
            if plan.in_place[index] == Some(operand) {
                return Slice::InPlace;
            }
            if let Some(constant) = &program.values[input].constant {
                return Slice::F32(constant);
            }
            // It is alive together with the output, so their places are apart.
            let place = plan.place(input);
            let range = place.bytes();
            let bytes = match range.start.checked_sub(after_start) {
                Some(start) => &after[start..start + range.len()],
                None => &before[range],
            };
            match place.element {
                Element::I8 => Slice::I8(bytemuck::cast_slice(bytes), place.len),
                Element::F32 => Slice::F32(bytemuck::cast_slice(bytes)),
            }
        };
        let inputs = step.inputs.iter().enumerate().map(read).collect();
        let output = match out.element {
            Element::I8 => SliceMut::I8(&mut bytemuck::cast_slice_mut(output)[..out.len]),
            Element::F32 => SliceMut::F32(bytemuck::cast_slice_mut(output)),
        };
        View { inputs, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_alive_together_shares_its_place() {
        let stretch = |bytes, first, last| Stretch {
            bytes,
            alive: (first, last),
            start: usize::MAX,
        };
        // The second and third lie beside each other, the fourth where the first was.
        let mut stretches = [
            stretch(100, 0, 1),
            stretch(60, 1, 2),
            stretch(40, 2, 3),
            stretch(90, 2, 4),
        ];
        let end = lay_out(&mut stretches);
        let starts = stretches.map(|stretch| stretch.start);
        assert_eq!(starts[0], 0);
        assert_eq!(starts[3], 0);
        assert_eq!(starts[1], 100);
        assert_eq!((starts[2], end), (160, 200));
    }
}
