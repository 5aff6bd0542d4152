//! The abuses, by name.

#[allow(unsafe_code, missing_docs, unreachable_pub)]
mod bindings {
    spin_sdk::wit_bindgen::generate!({
        path: "../../../functions/wit/deps/wasi-nn@0.2.0-rc-2024-10-28/wasi-nn.wit",
        world: "ml",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
    });
}

use bindings::wasi::nn::errors::Error;
use bindings::wasi::nn::graph::{ExecutionTarget, Graph, GraphEncoding, load, load_by_name};
use bindings::wasi::nn::inference::NamedTensor;
use bindings::wasi::nn::tensor::{Tensor, TensorType};

/// The clip of the gait network: `[1, T, H, W, C] u8`.
const CLIP: [u32; 5] = [1, 16, 224, 224, 3];
const CLIP_BYTES: usize = 16 * 224 * 224 * 3;
/// Its other input, the embedding of a condition: `[1, 768] f32`.
const CONDITION: [u32; 2] = [1, 768];

/// What the host says to the abuse of this name; `None` when there is no such abuse.
pub(crate) fn by_name(name: &str) -> Option<String> {
    Some(match name {
        "nothing" => run(sound()),
        "unknown-graph" => said(load_by_name("no-such-graph")),
        "path-as-a-graph" => said(load_by_name("../models/gait-student")),
        "graph-of-another-function" => said(load_by_name("ocr-detector")),
        "name-of-a-mebibyte" => said(load_by_name(&"n".repeat(1 << 20))),
        "graph-from-bytes" => {
            let bytes = vec![b"onnx".to_vec()];
            said(load(&bytes, GraphEncoding::Onnx, ExecutionTarget::Gpu))
        }
        "extents-that-overflow" => clip(&[u32::MAX; 5], TensorType::U8, 4),
        "a-product-of-two-to-the-64" => clip(&[1 << 31, 1 << 31, 4], TensorType::U8, 0),
        "too-few-bytes" => clip(&CLIP, TensorType::U8, CLIP_BYTES - 1),
        "too-many-bytes" => clip(&CLIP, TensorType::U8, CLIP_BYTES + 1),
        "another-shape" => clip(&[1, 16, 224, 3, 224], TensorType::U8, CLIP_BYTES),
        "no-elements" => clip(&[0; 5], TensorType::U8, 0),
        "no-axes" => clip(&[], TensorType::U8, 1),
        "a-million-axes" => clip(&vec![1; 1 << 20], TensorType::U8, 1),
        "reals-for-pixels" => clip(&CLIP, TensorType::Fp32, 4 * CLIP_BYTES),
        "halves" => clip(&CLIP, TensorType::Fp16, 2 * CLIP_BYTES),
        "no-inputs" => run(vec![]),
        "one-input" => run(sound().split_off(1)),
        "another-name" => {
            let mut inputs = sound();
            inputs[0].0 = "klip".to_owned();
            run(inputs)
        }
        "an-input-twice" => {
            let mut inputs = sound();
            inputs.extend(sound());
            run(inputs)
        }
        "a-hundred-inputs" => run((0..100).map(|_| small()).collect()),
        "a-name-of-a-mebibyte" => run(vec![("n".repeat(1 << 20), small().1)]),
        "sound-after-wrong" => {
            clip(&CLIP, TensorType::U8, 1);
            run(sound())
        }
        "graphs-for-ever" => hoard(graph),
        "contexts-for-ever" => {
            let graph = graph();
            hoard(|| graph.init_execution_context().map_err(|error| error.data()))
        }
        "errors-for-ever" => hoard(|| load_by_name("no-such-graph").err()),
        "tensors-for-ever" => hoard(|| Tensor::new(&[1], TensorType::U8, &[0])),
        "memory-for-ever" => {
            let bytes = vec![0; 1 << 20];
            hoard(|| Tensor::new(&[1 << 20], TensorType::U8, &bytes))
        }
        "memory-given-back" => {
            let bytes = vec![0; 1 << 20];
            for _ in 0..500 {
                drop(Tensor::new(&[1 << 20], TensorType::U8, &bytes));
            }
            run(sound())
        }
        "no-memory-to-run" => {
            let bytes = vec![0; 1 << 20];
            let mebibyte = || Tensor::new(&[1 << 20], TensorType::U8, &bytes);
            let mut held: Vec<Tensor> = (0..36).map(|_| mebibyte()).collect();
            let refused = loop {
                held.extend((0..2).map(|_| mebibyte()));
                let said = run(sound());
                if !said.starts_with("ok") {
                    break said;
                }
            };
            drop(held);
            let after = run(sound());
            format!("{refused}; then {after}")
        }
        _ => return None,
    })
}

fn graph() -> Graph {
    load_by_name("gait-student").unwrap_or_else(|error| panic!("{}", error.data()))
}

/// Keeps all that `make` makes, which the host must end.
fn hoard<T>(mut make: impl FnMut() -> T) -> String {
    let hoard: Vec<T> = (0..1_000_000).map(|_| make()).collect();
    format!("the host let me have {}", hoard.len())
}

fn small() -> NamedTensor {
    ("x".to_owned(), Tensor::new(&[1], TensorType::U8, &[0]))
}

/// What the network takes: a black clip, and a condition of zeros.
fn sound() -> Vec<NamedTensor> {
    let clip = Tensor::new(&CLIP, TensorType::U8, &vec![0; CLIP_BYTES]);
    let zeros = vec![0; 4 * CONDITION[1] as usize];
    let condition = Tensor::new(&CONDITION, TensorType::Fp32, &zeros);
    let inputs = [("clip", clip), ("condition", condition)];
    inputs
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
}

/// Runs with another clip.
fn clip(extents: &[u32], kind: TensorType, bytes: usize) -> String {
    let mut inputs = sound();
    inputs[0].1 = Tensor::new(extents, kind, &vec![0; bytes]);
    run(inputs)
}

fn run(inputs: Vec<NamedTensor>) -> String {
    let context = graph().init_execution_context();
    said(
        context
            .and_then(|context| context.compute(inputs))
            .map(|outputs| {
                let sizes = outputs.iter().map(|(name, tensor)| {
                    let (extents, kind) = (tensor.dimensions(), tensor.ty());
                    format!("{name} {extents:?} {kind:?} {} bytes", tensor.data().len())
                });
                sizes.collect::<Vec<_>>().join(", ")
            }),
    )
}

fn said<T: Outcome>(result: Result<T, Error>) -> String {
    match result {
        Ok(outcome) => format!("ok: {}", outcome.in_words()),
        Err(error) => format!("{:?}: {}", error.code(), error.data()),
    }
}

trait Outcome {
    fn in_words(self) -> String;
}

impl Outcome for String {
    fn in_words(self) -> String {
        self
    }
}

impl Outcome for Graph {
    fn in_words(self) -> String {
        "a graph".to_owned()
    }
}
