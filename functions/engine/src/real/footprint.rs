//! How much memory a graph takes: shapes -> bytes of weights and activations.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use crate::Manifest;

/// Sizes of a graph's tensors, and how long each one lives.
#[derive(Debug)]
pub(super) struct Footprint {
    weight_bytes: u64,
    values: Vec<Value>,
    /// How many nodes there are in a run.
    steps: usize,
    /// In the order in which they appear in the manifest.
    symbols: Vec<Symbol>,
}

/// One activation.
#[derive(Debug)]
struct Value {
    /// Elements.
    volume: TDim,
    element_bytes: u64,
    /// The steps that write it and that read it last.
    born: usize,
    dies: usize,
}

impl Footprint {
    /// Takes stock of `model`, in the order in which its nodes are evaluated.
    ///
    /// # Errors
    /// A manifest with dimensions that are not understood, or a graph with a circle.
    pub(super) fn new(model: &TypedModel, manifest: &Manifest) -> TractResult<Self> {
        let order = model.eval_order()?;
        let mut last_read: HashMap<OutletId, usize> = HashMap::new();
        for (step, &node) in order.iter().enumerate() {
            for &input in &model.node(node).inputs {
                last_read.insert(input, step);
            }
        }
        let mut weight_bytes = 0;
        let mut values = vec![];
        for (step, &node) in order.iter().enumerate() {
            for (slot, output) in model.node(node).outputs.iter().enumerate() {
                let outlet = OutletId::new(node, slot);
                let element_bytes = output.fact.datum_type.size_of() as u64;
                let fixed = &output.fact.konst;
                match fixed {
                    Some(constant) => weight_bytes += constant.len() as u64 * element_bytes,
                    None => values.push(Value {
                        volume: output.fact.shape.volume(),
                        element_bytes,
                        born: step,
                        dies: match model.outputs.contains(&outlet) {
                            true => order.len(),
                            false => last_read.get(&outlet).copied().unwrap_or(step),
                        },
                    }),
                }
            }
        }
        let mut symbols: Vec<Symbol> = vec![];
        for input in &manifest.inputs {
            for dim in &input.shape {
                if let (_, Some(name)) = dim.parts()? {
                    let symbol = model.symbols.sym(name);
                    if !symbols.contains(&symbol) {
                        symbols.push(symbol);
                    }
                }
            }
        }
        Ok(Self {
            weight_bytes,
            values,
            steps: order.len(),
            symbols,
        })
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The most that lives at once where the symbols have these values.
    ///
    /// # Errors
    /// A dimension that another symbol makes.
    pub(super) fn activation_bytes(&self, symbols: &[i64]) -> TractResult<u64> {
        let named = self.symbols.iter().zip(symbols);
        let values = named.fold(SymbolValues::default(), |values, (symbol, &value)| {
            values.with(symbol, value)
        });
        let mut changes = vec![(0u64, 0u64); self.steps + 2];
        for value in &self.values {
            let volume = value.volume.eval_to_i64(&values)?;
            let bytes = u64::try_from(volume).unwrap_or(0) * value.element_bytes;
            changes[value.born].0 += bytes;
            changes[value.dies + 1].1 += bytes;
        }
        let (mut now, mut most) = (0u64, 0u64);
        for (born, died) in changes {
            now = now + born - died;
            most = most.max(now);
        }
        Ok(most)
    }
}
