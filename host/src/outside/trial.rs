//! A component -> a request that it answers, and the memory that this took.
//!
//! What a file says of its axes does not tell which extents a model can really take, nor what they cost. So a few usual ones are tried,
//! on the component itself, each in an instance of its own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use ephemera_engine::{Datatype, Dim, InputSpec, Signature};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use serde_json::json;

use crate::body::Pieces;
use crate::build::Artifact;
use crate::config::Function;
use crate::progress::Progress;
use crate::runtime::{Loaded, Runtime};
use crate::variables::Values;

/// What a free axis may be; the first of a tensor counts examples and is 1.
const EXTENTS: [usize; 6] = [8, 32, 64, 224, 1, 128];

/// Elements of an example: two bytes each as text, and a body has at most 10 MiB.
const MAX_ELEMENTS: usize = 4 << 20;

/// The least ceiling of a request, in MiB: what the smallest edge platform we target grants anyway.
const LEAST_MEMORY_MIB: u32 = 128;

/// Ceilings are multiples of this, in MiB.
const MEMORY_STEP_MIB: u64 = 32;

/// A request that was answered.
pub(super) struct Trial {
    pub(super) request: Example,
    /// A ceiling with some room above what it took, in MiB.
    pub(super) memory_mib: u32,
}

/// A request, with what JSON has no form for behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Example {
    /// The body.
    pub(super) body: Vec<u8>,
    /// How much of it is JSON, in bytes, if something is behind that.
    pub(super) json_bytes: Option<usize>,
}

impl Example {
    /// The file that it is kept in.
    pub(super) fn file(&self) -> &'static str {
        match self.json_bytes {
            None => "request.json",
            Some(_) => "request.bin",
        }
    }

    /// How it is sent, with `{url}` for where the server is.
    pub(super) fn command(&self, model: &str) -> String {
        let to = format!("{{url}}/v2/models/{model}/infer");
        let file = self.file();
        match self.json_bytes {
            None => format!("curl -H 'content-type: application/json' -d @{file} {to}"),
            Some(bytes) => {
                let header = format!("{HEADER}: {bytes}");
                format!(
                    "curl -H 'content-type: application/octet-stream' -H '{header}' --data-binary @{file} --output answer.bin {to}"
                )
            }
        }
    }
}

/// What says how much of a body is JSON, in the protocol's binary extension.
const HEADER: &str = "inference-header-content-length";

/// Tries the component until it answers.
///
/// # Errors
///
/// It answers to none of the shapes.
pub(super) fn run(
    artifact: &Artifact,
    function: &Function,
    signature: &Signature,
    progress: &Progress,
) -> Result<Trial> {
    let name = &function.models[0];
    let step = progress.step(format!("{name}: trying"));
    let runtime = Runtime::new(1)?;
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("starting the executor")?;
    let loaded = runtime.load(
        &function.name,
        &artifact.precompiled,
        function.limits,
        Values::default(),
    )?;
    let mut said = "no shape is small enough for an example".to_owned();
    let mut seen = BTreeSet::new();
    for extent in EXTENTS {
        let Some(request) = request(signature, extent)? else {
            continue;
        };
        if !seen.insert(request.clone()) {
            break;
        }
        match executor.block_on(ask(&loaded, name, request.clone())) {
            Ok(peak_bytes) => {
                let memory_mib = ceiling_mib(peak_bytes);
                step.done(&format!(
                    "{} MiB of memory, ceiling {memory_mib} MiB",
                    peak_bytes >> 20
                ));
                return Ok(Trial {
                    request,
                    memory_mib,
                });
            }
            Err(error) => said = format!("{error:#}"),
        }
    }
    bail!(
        "the model answers no request of zeros in usual shapes (`--input NAME=1x3x224x224` fixes one): {said}"
    )
}

/// Sends the request; the memory that the instance took, in bytes.
async fn ask(function: &Loaded, model: &str, example: Example) -> Result<u64> {
    let mut request = Request::post(format!("/v2/models/{model}/infer"))
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json");
    if let Some(bytes) = example.json_bytes {
        request = request.header(HEADER, bytes);
    }
    let request = request.body(Pieces::from(Bytes::from(example.body)))?;
    let answer = function.handle(request).await?;
    if !answer.status().is_success() {
        bail!("{}", String::from_utf8_lossy(answer.body()));
    }
    let peak = answer.headers().get("x-ephemera-peak-memory");
    let peak = peak.and_then(|peak| peak.to_str().ok()?.parse().ok());
    peak.context("the function does not say what memory it took")
}

/// A quarter more than what was taken.
fn ceiling_mib(peak_bytes: u64) -> u32 {
    let needed = (peak_bytes + peak_bytes / 4).div_ceil(1 << 20);
    let ceiling = needed.next_multiple_of(MEMORY_STEP_MIB).min(4095);
    u32::try_from(ceiling).unwrap_or(4095).max(LEAST_MEMORY_MIB)
}

/// A request of zeros with this extent on each free axis; `None` where it would be too large.
fn request(signature: &Signature, extent: usize) -> Result<Option<Example>> {
    let firsts = signature
        .inputs
        .iter()
        .filter_map(|input| input.shape.first());
    let firsts = firsts.filter_map(|dim| dim.parts().ok()?.1);
    let mut values: BTreeMap<&str, usize> = firsts.map(|symbol| (symbol, 1)).collect();
    let mut inputs = vec![];
    let mut elements = 0usize;
    let mut behind = 0;
    for input in &signature.inputs {
        let shape = shape(input, extent, &mut values)?;
        let count = shape
            .iter()
            .try_fold(1usize, |count, &e| count.checked_mul(e));
        elements = count.map_or(usize::MAX, |count| elements.saturating_add(count));
        if elements > MAX_ELEMENTS {
            return Ok(None);
        }
        let count = count.unwrap_or(0);
        let mut tensor = json!({
            "name": input.name,
            "datatype": protocol_name(input.datatype),
            "shape": shape,
        });
        match input.datatype {
            Datatype::F16 => {
                let bytes = 2 * count;
                tensor["parameters"] = json!({ "binary_data_size": bytes });
                behind += bytes;
            }
            Datatype::Bool => tensor["data"] = json!(vec![false; count]),
            _ => tensor["data"] = json!(vec![0; count]),
        }
        inputs.push(tensor);
    }
    let mut asked = json!({ "inputs": inputs });
    let mut outputs = signature.outputs.iter();
    let binary = behind > 0 || outputs.any(|output| output.datatype == Datatype::F16);
    if binary {
        asked["parameters"] = json!({ "binary_data_output": true });
    }
    let mut body = serde_json::to_vec(&asked)?;
    let json_bytes = binary.then_some(body.len());
    // Zeros are zeros in any form.
    body.resize(body.len() + behind, 0);
    Ok(Some(Example { body, json_bytes }))
}

fn shape<'s>(
    input: &'s InputSpec,
    extent: usize,
    values: &mut BTreeMap<&'s str, usize>,
) -> Result<Vec<usize>> {
    let axis = |dim: &'s Dim| {
        let (factor, symbol) = dim.parts()?;
        Ok(match symbol {
            None => factor,
            Some(symbol) => factor * *values.entry(symbol).or_insert(extent),
        })
    };
    input.shape.iter().map(axis).collect()
}

/// What the Open Inference Protocol calls it.
fn protocol_name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "BOOL",
        Datatype::U8 => "UINT8",
        Datatype::U16 => "UINT16",
        Datatype::U32 => "UINT32",
        Datatype::U64 => "UINT64",
        Datatype::I8 => "INT8",
        Datatype::I16 => "INT16",
        Datatype::I32 => "INT32",
        Datatype::I64 => "INT64",
        Datatype::F16 => "FP16",
        Datatype::F32 => "FP32",
        Datatype::F64 => "FP64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, dims: &[&str], datatype: Datatype) -> InputSpec {
        let dim = |text: &&str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) => Dim::Symbolic((*text).to_owned()),
        };
        InputSpec {
            name: name.to_owned(),
            shape: dims.iter().map(dim).collect(),
            datatype,
            channels: Default::default(),
            mean: vec![],
            std: vec![],
        }
    }

    #[test]
    fn a_request_has_one_example_of_zeros() {
        let mut signature = Signature {
            inputs: vec![
                input("a", &["n", "2", "t"], Datatype::F32),
                input("b", &["n", "t"], Datatype::Bool),
            ],
            outputs: vec![],
        };
        let example = |signature: &Signature| {
            let example = request(signature, 2).expect("plain axes");
            example.expect("small")
        };
        let Example { body, json_bytes } = example(&signature);
        assert_eq!(json_bytes, None);
        let expected = json!({"inputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 2, 2], "data": [0, 0, 0, 0]},
            {"name": "b", "datatype": "BOOL", "shape": [1, 2], "data": [false, false]},
        ]});
        let found: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(found, expected);
        let large = request(&signature, MAX_ELEMENTS).expect("plain axes");
        assert!(large.is_none());
        // What has no form in JSON is behind it.
        signature.inputs[0].datatype = Datatype::F16;
        let Example { body, json_bytes } = example(&signature);
        let (json, behind) = body.split_at(json_bytes.expect("something is behind it"));
        assert_eq!(behind, [0; 8]);
        let found: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        let expected = json!({"inputs": [
            {"name": "a", "datatype": "FP16", "shape": [1, 2, 2], "parameters": {"binary_data_size": 8}},
            {"name": "b", "datatype": "BOOL", "shape": [1, 2], "data": [false, false]},
        ], "parameters": {"binary_data_output": true}});
        assert_eq!(found, expected);
    }

    #[test]
    fn ceilings_have_room() {
        assert_eq!(ceiling_mib(20 << 20), 128);
        assert_eq!(ceiling_mib(128 << 20), 160);
        assert_eq!(ceiling_mib(4000 << 20), 4095);
    }
}
