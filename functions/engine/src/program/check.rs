//! What a program has to be before it is run, when its bytes come from elsewhere.
//!
//! The steps check the extents that they meet; what does not depend on extents, and what they take for granted, is
//! checked here, once.

use anyhow::{Context, bail, ensure};

use super::{
    Along, Broadcast, Channels, Conv, Depthwise, Element, Epilogue, Extent, Linear, Lookup, Op,
    Padding, Pick, Pool, PoolKind, Pooled, Program, Requant, Step, Value, ValueId, Window,
};
use crate::InputSpec;
use crate::kernels::{CHUNK_STEPS, PANEL, STEP};

/// Values and steps; the largest graphs have some thousands.
const MAX_COUNT: usize = 1 << 17;

/// Axes of a value.
const MAX_RANK: usize = 16;

/// Extents, steps, positions of a window.
const MAX_WINDOW: usize = 1 << 12;

/// Largest border.
const MAX_BORDER: i64 = 1 << 20;

impl Program {
    /// `inputs`: the manifest's. `outputs`: how many it names.
    ///
    /// # Errors
    /// The first thing that is not as the lowering makes it.
    pub(crate) fn check(&self, inputs: &[InputSpec], outputs: usize) -> anyhow::Result<()> {
        ensure!(
            self.values.len() <= MAX_COUNT && self.steps.len() <= MAX_COUNT,
            "{} values and {} steps, limit is {MAX_COUNT}",
            self.values.len(),
            self.steps.len()
        );
        for (index, value) in self.values.iter().enumerate() {
            value.check().with_context(|| format!("value {index}"))?;
        }
        // Which values hold something already.
        let mut made: Vec<bool> = self
            .values
            .iter()
            .map(|value| value.constant.is_some())
            .collect();
        let mut make = |value: ValueId| {
            let made = made
                .get_mut(value)
                .with_context(|| format!("no value {value}"))?;
            ensure!(
                !std::mem::replace(made, true),
                "value {value} is made twice"
            );
            Ok(())
        };
        ensure!(
            self.inputs.len() == inputs.len() && self.outputs.len() == outputs,
            "{} inputs and {} outputs, expected {} and {outputs}",
            self.inputs.len(),
            self.outputs.len(),
            inputs.len()
        );
        for (&input, spec) in self.inputs.iter().zip(inputs) {
            make(input)?;
            let element = if spec.mean.is_empty() {
                Element::F32
            } else {
                Element::I8
            };
            ensure!(
                self.values[input].element == element,
                "input {:?} is {element:?}",
                spec.name
            );
        }
        for step in &self.steps {
            let check = || {
                for &input in &step.inputs {
                    ensure!(
                        made.get(input) == Some(&true),
                        "value {input} is read before it is made"
                    );
                }
                ensure!(step.output < self.values.len(), "no value {}", step.output);
                step.check(self)
            };
            check().with_context(|| format!("step {:?}", step.name))?;
            let output = &mut made[step.output];
            ensure!(
                !std::mem::replace(output, true),
                "value {} is made twice",
                step.output
            );
        }
        for &output in &self.outputs {
            ensure!(
                made.get(output) == Some(&true),
                "output {output} is not made"
            );
            ensure!(
                self.values[output].element == Element::F32,
                "output {output} is not f32"
            );
        }
        Ok(())
    }
}

impl Value {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.shape.len() <= MAX_RANK, "{} axes", self.shape.len());
        if let Some(constant) = &self.constant {
            let extents = self.shape.iter().map(Extent::as_fixed);
            let elements = extents
                .into_iter()
                .try_fold(1usize, |elements, extent| elements.checked_mul(extent?));
            ensure!(
                self.element == Element::F32 && elements == Some(constant.len()),
                "a constant of {} elements for {:?}",
                constant.len(),
                self.shape
            );
        }
        Ok(())
    }
}

/// A step with the program that it is part of.
struct Checked<'a> {
    program: &'a Program,
    step: &'a Step,
}

impl Step {
    fn check(&self, program: &Program) -> anyhow::Result<()> {
        Checked {
            program,
            step: self,
        }
        .check()
    }
}

impl Checked<'_> {
    fn input(&self, index: usize) -> &Value {
        &self.program.values[self.step.inputs[index]]
    }

    fn output(&self) -> &Value {
        &self.program.values[self.step.output]
    }

    /// Operands and result have these types, and there are as many.
    fn types(&self, inputs: &[Element], output: Element) -> anyhow::Result<()> {
        let given = self
            .step
            .inputs
            .iter()
            .map(|&input| self.program.values[input].element);
        ensure!(
            given.eq(inputs.iter().copied()) && self.output().element == output,
            "operands of other types than {inputs:?} to {output:?}"
        );
        Ok(())
    }

    /// One operand of the result's type.
    fn one(&self) -> anyhow::Result<()> {
        let element = self.output().element;
        self.types(&[element], element)
    }

    fn check(&self) -> anyhow::Result<()> {
        use Element::{F32, I8};
        match &self.step.op {
            Op::Conv(conv) => self.conv(conv),
            Op::Depthwise(conv) => self.depthwise(conv),
            Op::Add(add) => {
                self.types(&[I8, I8], I8)?;
                zeros([add.a_zero, add.b_zero])?;
                add.requant.check()
            }
            Op::Scale(scale) => {
                self.types(&[I8, I8], I8)?;
                zeros([scale.a_zero, scale.b_zero])?;
                scale.requant.check()
            }
            Op::Broadcast(broadcast) => {
                self.types(&[I8, I8], I8)?;
                zeros(match &**broadcast {
                    Broadcast::Add(add) => [add.a_zero, add.b_zero],
                    Broadcast::Mul(mul) => [mul.a_zero, mul.b_zero],
                })?;
                broadcast.requant().check()
            }
            Op::Pool(pool) => self.pool(pool),
            Op::Repeat(factors) => {
                self.types(&[I8], I8)?;
                ensure!(
                    factors
                        .iter()
                        .all(|factor| (1..=MAX_WINDOW).contains(factor)),
                    "repeated {factors:?} times"
                );
                Ok(())
            }
            Op::Concat { axis, tables } => self.concat(*axis, tables),
            Op::Map(_) => self.types(&[I8], I8),
            Op::MapAlong(along) => {
                self.types(&[I8], I8)?;
                self.along(along)
            }
            Op::DecodeAlong(along) => {
                self.types(&[I8], F32)?;
                self.along(along)
            }
            Op::Image(channels) => {
                self.types(&[I8], I8)?;
                ensure!(
                    channels.iter().all(|(channel, _)| *channel < 3),
                    "a channel behind the third"
                );
                Ok(())
            }
            Op::Decode(_) => self.types(&[I8], F32),
            Op::Encode { requant, .. } => {
                self.types(&[F32], I8)?;
                requant.check()
            }
            Op::Reshape => self.one(),
            Op::Transpose(perm) => self.transpose(perm),
            Op::Slice { axis, start } => {
                self.one()?;
                let (from, to) = (&self.input(0).shape, &self.output().shape);
                let others = |shape: &[Extent]| [&shape[..*axis], &shape[axis + 1..]].concat();
                ensure!(
                    *axis < from.len()
                        && from.len() == to.len()
                        && others(from) == others(to)
                        && *start as i64 <= MAX_BORDER,
                    "a slice of axis {axis} of {from:?} from {start}"
                );
                Ok(())
            }
            Op::Pick { picks, .. } => {
                self.one()?;
                let far = |pick: &Pick| match pick {
                    Pick::Step { start, step, .. } => {
                        start.saturating_abs() > MAX_BORDER || step.saturating_abs() > MAX_BORDER
                    }
                    Pick::All | Pick::Nearest(_) | Pick::Each(_) => false,
                };
                ensure!(!picks.iter().any(far), "picks {picks:?}");
                Ok(())
            }
            Op::Linear(linear) => self.linear(linear),
            Op::Binary(_) | Op::MatMul => self.types(&[F32, F32], F32),
            Op::Unary(_) | Op::Softmax | Op::Reduce(_) => self.types(&[F32], F32),
            Op::PoolReals(pool) => {
                self.types(&[F32], F32)?;
                pool.window.check()
            }
            Op::LayerNorm { gamma, beta, .. } => {
                self.types(&[F32], F32)?;
                ensure!(
                    gamma.len() == beta.len(),
                    "{} gammas but {} betas",
                    gamma.len(),
                    beta.len()
                );
                Ok(())
            }
            #[cfg(feature = "tract")]
            Op::Tract(_) => bail!("a step in tract has no form in bytes"),
        }
    }

    /// The channels of the operand.
    fn channels(&self) -> anyhow::Result<usize> {
        let last = self.input(0).shape.last().and_then(Extent::as_fixed);
        last.context("channels that are no number")
    }

    fn conv(&self, conv: &Conv) -> anyhow::Result<()> {
        self.types(&[Element::I8], conv.epilogue.element())?;
        conv.window.check()?;
        let taps = conv.window.taps();
        let spread = match &conv.spread {
            None => 1,
            Some(stride) => product(stride)?,
        };
        let lanes = spread.checked_mul(conv.out_channels);
        let lanes = lanes
            .filter(|&lanes| lanes <= MAX_COUNT)
            .context("too many channels")?;
        let groups = conv.groups.len();
        let channels = self.channels()?;
        ensure!(
            groups > 0 && lanes % groups == 0 && channels % groups == 0,
            "{channels} channels to {lanes} in {groups} groups"
        );
        let k = channels / groups;
        for packed in &conv.groups {
            let (rows, row) = conv.window.rows(k);
            let fits = packed.taps == rows && packed.steps == row.div_ceil(STEP);
            ensure!(
                fits && packed.panels == (lanes / groups).div_ceil(PANEL),
                "weights {packed:?} for {taps} taps of {k} channels to {}",
                lanes / groups
            );
            let chunks = packed.panels * packed.taps * (packed.steps / CHUNK_STEPS);
            ensure!(
                (-128..=128).contains(&packed.added())
                    && packed.totals.len() == packed.panels * PANEL
                    && (packed.depths.is_empty() || packed.depths.len() == chunks),
                "weights {packed:?}"
            );
            self.weights(packed.start, packed.panels, packed.panel_len())?;
        }
        if let Some(pool) = &conv.pool {
            self.pooled(pool, conv)?;
        }
        let panels = conv.groups.iter().map(|packed| packed.panels).sum();
        conv.channels.check(&conv.epilogue, panels)
    }

    /// A pool inside a convolution.
    fn pooled(&self, pool: &Pooled, conv: &Conv) -> anyhow::Result<()> {
        pool.window.check()?;
        let rank = pool.window.kernel.len() + 2;
        let full = self.program.values.get(pool.of);
        let full = full.with_context(|| format!("no value {}", pool.of))?;
        ensure!(
            Pooled::takes(&pool.window)
                && conv.spread.is_none()
                && conv.window.kernel.len() == pool.window.kernel.len()
                && self.output().element == Element::I8
                && full.shape.len() == rank
                && full.shape.last() == self.output().shape.last(),
            "{:?} pooled by {:?} to {:?}",
            full.shape,
            pool.window,
            self.output().shape
        );
        Ok(())
    }

    fn depthwise(&self, conv: &Depthwise) -> anyhow::Result<()> {
        self.types(&[Element::I8], conv.epilogue.element())?;
        conv.window.check()?;
        let packed = &conv.packed;
        ensure!(
            packed.taps == conv.window.taps() && packed.panels == self.channels()?.div_ceil(PANEL),
            "weights {packed:?} for {:?}",
            conv.window
        );
        self.weights(packed.start, packed.panels, packed.panel_len())?;
        if let Some((shift, ones)) = &conv.shifted {
            let same = ones.taps == packed.taps && ones.panels == packed.panels;
            ensure!(same && shift.abs() <= 128, "ones {ones:?} for {packed:?}");
            self.weights(ones.start, ones.panels, ones.panel_len())?;
        }
        conv.channels.check(&conv.epilogue, packed.panels)
    }

    /// The weights lie in the region.
    fn weights(&self, start: usize, panels: usize, panel_len: usize) -> anyhow::Result<()> {
        let end = panels
            .checked_mul(panel_len)
            .and_then(|len| start.checked_add(len));
        let region = self.program.weights.len();
        ensure!(
            end.is_some_and(|end| end <= region),
            "{panels} panels of {panel_len} at {start} of {region} bytes of weights"
        );
        Ok(())
    }

    fn pool(&self, pool: &Pool) -> anyhow::Result<()> {
        self.types(&[Element::I8], Element::I8)?;
        if let Some(window) = &pool.window {
            window.check()?;
        }
        match &pool.kind {
            PoolKind::Max => Ok(()),
            PoolKind::Mean {
                zero_point,
                requant,
                ..
            } => {
                zeros([*zero_point; 2])?;
                requant.check()
            }
        }
    }

    fn concat(&self, axis: usize, tables: &[Lookup<i8>]) -> anyhow::Result<()> {
        let element = self.output().element;
        self.types(&vec![element; self.step.inputs.len()], element)?;
        let expected = if element == Element::I8 {
            self.step.inputs.len()
        } else {
            0
        };
        ensure!(
            !self.step.inputs.is_empty()
                && tables.len() == expected
                && axis < self.output().shape.len(),
            "{} parts with {} tables along axis {axis}",
            self.step.inputs.len(),
            tables.len()
        );
        Ok(())
    }

    fn along<T>(&self, along: &Along<T>) -> anyhow::Result<()> {
        let extent = self
            .input(0)
            .shape
            .get(along.axis)
            .and_then(Extent::as_fixed);
        ensure!(
            extent == Some(along.tables.len()) && !along.tables.is_empty(),
            "{} tables along axis {}",
            along.tables.len(),
            along.axis
        );
        Ok(())
    }

    fn transpose(&self, perm: &[usize]) -> anyhow::Result<()> {
        self.one()?;
        let (from, to) = (&self.input(0).shape, &self.output().shape);
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        ensure!(
            sorted.into_iter().eq(0..from.len())
                && to.iter().eq(perm.iter().map(|&axis| &from[axis])),
            "{from:?} to {to:?} by {perm:?}"
        );
        Ok(())
    }

    fn linear(&self, linear: &Linear) -> anyhow::Result<()> {
        ensure!(
            linear.axes.len() <= 3,
            "resized along {} axes",
            linear.axes.len()
        );
        self.one()?;
        match &linear.bytes {
            None => self.types(&[Element::F32], Element::F32),
            Some(bytes) => {
                self.types(&[Element::I8], Element::I8)?;
                zeros([bytes.zero_point; 2])?;
                bytes.requant.check()
            }
        }
    }
}

impl Window {
    fn check(&self) -> anyhow::Result<()> {
        let axes = self.kernel.len();
        let lists = [&self.kernel, &self.stride, &self.dilation, &self.spacing];
        let sound = |list: &&Vec<usize>| {
            list.len() == axes && list.iter().all(|extent| (1..=MAX_WINDOW).contains(extent))
        };
        ensure!(
            (1..=3).contains(&axes) && lists.iter().all(sound),
            "window {self:?}"
        );
        product(&self.kernel)?;
        if let Padding::Before(before) = &self.padding {
            let near = |before: &isize| before.unsigned_abs() as u64 <= MAX_BORDER as u64;
            ensure!(
                before.len() == axes && before.iter().all(near),
                "padding {before:?}"
            );
        }
        Ok(())
    }
}

impl Epilogue {
    fn element(&self) -> Element {
        match self {
            Self::Byte(_) => Element::I8,
            Self::Real { .. } => Element::F32,
        }
    }
}

impl Channels {
    /// An entry for each channel of each panel.
    fn check(&self, epilogue: &Epilogue, panels: usize) -> anyhow::Result<()> {
        let expected = panels * PANEL;
        let rest = match epilogue {
            Epilogue::Byte(requant) => {
                requant.check()?;
                expected
            }
            Epilogue::Real { rest, .. } => rest.len(),
        };
        ensure!(
            self.bias.len() == expected && self.scale.len() == expected && rest == expected,
            "{} biases and {} scales for {panels} panels",
            self.bias.len(),
            self.scale.len()
        );
        Ok(())
    }
}

impl Requant {
    fn check(&self) -> anyhow::Result<()> {
        zeros([self.zero_point; 2])
    }
}

/// Zero points are bytes.
fn zeros(zero_points: [i32; 2]) -> anyhow::Result<()> {
    let is_byte = |zero_point: &i32| i8::try_from(*zero_point).is_ok();
    ensure!(
        zero_points.iter().all(is_byte),
        "zero points {zero_points:?}"
    );
    Ok(())
}

/// Positions of a window.
fn product(extents: &[usize]) -> anyhow::Result<usize> {
    let product = extents
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent));
    let product = product.filter(|product| (1..=MAX_WINDOW).contains(product));
    product.with_context(|| format!("a window of {extents:?}"))
}
