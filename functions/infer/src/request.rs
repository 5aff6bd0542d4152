//! Body bytes -> [`Request`]: the tensors of a model's inputs, and which outputs are wanted in which form.
//!
//! The body is a JSON object, with the inputs' binary data behind it where `Inference-Header-Content-Length` says how long the object
//! is. It is read twice: first for names, types and shapes, which are held against the model and the limits before any data is; then
//! for the numbers.

mod data;
mod head;

use std::collections::HashSet;

use ephemera_engine::{Port, RawTensor};
use ephemera_http::{HttpRequest, shortened};

use crate::catalogue::names;
use crate::{Error, datatype};
use head::{Head, InputHead, OutputHead};

/// Elements of all inputs, in bytes. Numbers in JSON may grow fourfold, and the platform's 128 MiB hold them more than once.
pub const MAX_TENSOR_BYTES: usize = 16 << 20;

/// What a client asks of a model.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// To be sent back.
    pub id: Option<String>,
    /// One for each input of the model, by name.
    pub tensors: Vec<(String, RawTensor)>,
    /// What is sent back, in this order.
    pub outputs: Vec<Wanted>,
}

/// An output that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Behind the JSON instead of in it.
    pub binary: bool,
}

impl Request {
    /// Reads a request for a model with these inputs and outputs.
    ///
    /// # Errors
    /// Whatever is wrong with it; see [`Error::status`].
    pub fn read(
        request: HttpRequest<'_>,
        inputs: &[Port],
        outputs: &[Port],
    ) -> Result<Request, Error> {
        let media = request.media_type();
        if !["", "application/json", "application/octet-stream"].contains(&media.as_str()) {
            return Err(Error::ContentType(shortened(&media)));
        }
        let encoding = request.header("content-encoding").unwrap_or("");
        if !["", "identity"].contains(&encoding) {
            return Err(Error::ContentEncoding(shortened(encoding)));
        }
        let json_bytes = request.header("inference-header-content-length");
        Request::parse(json_bytes, &request.body, inputs, outputs)
    }

    /// Reads a body. `json_bytes`: the header `Inference-Header-Content-Length`; without one, all of it is JSON.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        json_bytes: Option<&str>,
        body: &[u8],
        inputs: &[Port],
        outputs: &[Port],
    ) -> Result<Request, Error> {
        let split = match json_bytes {
            None => body.split_at_checked(body.len()),
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .and_then(|at| body.split_at_checked(at)),
        };
        let (json, binary) = split.ok_or_else(|| Error::HeaderLength {
            actual: shortened(json_bytes.unwrap_or("")),
            body_bytes: body.len(),
        })?;
        let Head {
            id,
            parameters,
            inputs: given,
            outputs: wanted,
        } = head::parse(json)?;
        if parameters.sequence_id.is_some() {
            return Err(Error::Unsupported("a sequence of requests"));
        }
        let outputs = wanted_outputs(wanted, outputs, parameters.binary_data_output)?;
        let places = places(&given.0, json.len(), inputs)?;
        let tensors = fill(&places, json, binary)?;
        Ok(Request {
            id,
            tensors,
            outputs,
        })
    }
}

/// An input of the request, whose description fits the model and the limits.
struct Place<'p> {
    port: &'p Port,
    shape: Vec<usize>,
    /// Number of elements.
    count: usize,
    /// Length of its binary data; `None` for numbers in the JSON.
    binary_bytes: Option<usize>,
}

/// One for each input of the request, in its order.
fn places<'p>(
    given: &[InputHead],
    json_bytes: usize,
    ports: &'p [Port],
) -> Result<Vec<Place<'p>>, Error> {
    let mut seen = HashSet::new();
    let mut all_bytes = 0usize;
    let mut places = Vec::with_capacity(given.len());
    for input in given {
        let port = ports.iter().find(|port| port.name == input.name);
        let port = port.ok_or_else(|| Error::UnknownTensor {
            kind: "input",
            name: shortened(&input.name),
            known: names(ports.iter().map(|port| &port.name)),
        })?;
        if !seen.insert(&port.name) {
            let (kind, name) = ("input", port.name.clone());
            return Err(Error::Twice { kind, name });
        }
        let place = place(input, json_bytes, port)?;
        all_bytes = all_bytes.saturating_add(place.count.saturating_mul(port.datatype.size()));
        if all_bytes > MAX_TENSOR_BYTES {
            let (actual, limit) = (all_bytes, MAX_TENSOR_BYTES);
            return Err(Error::TensorsTooLarge { actual, limit });
        }
        places.push(place);
    }
    match ports.iter().find(|port| !seen.contains(&port.name)) {
        Some(missing) => Err(Error::MissingInput(missing.name.clone())),
        None => Ok(places),
    }
}

fn place<'p>(input: &InputHead, json_bytes: usize, port: &'p Port) -> Result<Place<'p>, Error> {
    let wrong = |expected: String, actual: String| Error::Input {
        name: port.name.clone(),
        expected,
        actual,
    };
    let expected = datatype::name(port.datatype);
    if input.datatype != expected {
        return Err(wrong(expected.to_owned(), shortened(&input.datatype)));
    }
    if input.parameters.shared_memory_region.is_some() {
        return Err(Error::Unsupported("shared memory"));
    }
    // In 64 bits throughout: the same answer where memory has 32.
    let extents = &input.shape.0;
    if !fits(port, extents) {
        let dims: Vec<String> = port.shape.iter().map(ToString::to_string).collect();
        let expected = format!("shape [{}]", dims.join(", "));
        return Err(wrong(expected, format!("{extents:?}")));
    }
    let size = port.datatype.size();
    let limit = MAX_TENSOR_BYTES;
    let count = extents
        .iter()
        .try_fold(1u64, |count, &extent| count.checked_mul(extent));
    let count = count.filter(|count| *count <= (limit / size) as u64);
    let count = count.ok_or(Error::TensorsTooLarge {
        actual: limit,
        limit,
    })? as usize;
    // None is larger than what they make together, but beside an axis of none.
    let shape = extents.iter().map(|&extent| usize::try_from(extent));
    let shape: Vec<usize> =
        shape
            .collect::<Result<_, _>>()
            .map_err(|_| Error::TensorsTooLarge {
                actual: limit,
                limit,
            })?;
    let binary_bytes = match (input.data.is_some(), input.parameters.binary_data_size) {
        (false, Some(announced)) if announced == (count * size) as u64 => Some(count * size),
        (false, Some(announced)) => {
            let expected = format!("{} bytes of binary data", count * size);
            return Err(wrong(expected, announced.to_string()));
        }
        (false, None) => {
            let expected = "data, or binary_data_size".to_owned();
            return Err(wrong(expected, "neither".to_owned()));
        }
        (true, Some(_)) => {
            let expected = "data or binary_data_size".to_owned();
            return Err(wrong(expected, "both".to_owned()));
        }
        (true, None) if port.datatype == ephemera_engine::Datatype::F16 => {
            let expected = "binary data, JSON has no form for FP16".to_owned();
            return Err(wrong(expected, "numbers".to_owned()));
        }
        // Each takes a digit and what parts it from the next: nothing is reserved for what cannot be there.
        (true, None) if count > json_bytes / 2 => {
            let expected = format!("{count} elements of data");
            return Err(wrong(expected, format!("a request of {json_bytes} bytes")));
        }
        (true, None) => None,
    };
    Ok(Place {
        port,
        shape,
        count,
        binary_bytes,
    })
}

/// Whether a tensor of this shape may be the input; symbols that it shares with others are the engine's to compare.
fn fits(port: &Port, shape: &[u64]) -> bool {
    let axis = |(dim, &extent): (&ephemera_engine::Dim, &u64)| match dim.parts() {
        Ok((expected, None)) => extent == expected as u64,
        Ok((factor, Some(_))) => extent > 0 && extent.is_multiple_of(factor as u64),
        Err(_) => false,
    };
    shape.len() == port.shape.len() && port.shape.iter().zip(shape).all(axis)
}

/// Reads the elements of all places.
fn fill(
    places: &[Place<'_>],
    json: &[u8],
    mut binary: &[u8],
) -> Result<Vec<(String, RawTensor)>, Error> {
    let expected: usize = places.iter().filter_map(|place| place.binary_bytes).sum();
    if binary.len() != expected {
        let actual = binary.len();
        return Err(Error::BinaryLength { expected, actual });
    }
    let mut numbers = data::read(json, places)?.into_iter();
    let mut tensors = Vec::with_capacity(places.len());
    for place in places {
        let elements = match place.binary_bytes {
            None => numbers.next().flatten().unwrap_or_default(),
            Some(bytes) => {
                numbers.next();
                let (elements, rest) = binary.split_at(bytes);
                binary = rest;
                elements.to_vec()
            }
        };
        let tensor = RawTensor::new(place.port.datatype, place.shape.clone(), elements)?;
        tensors.push((place.port.name.clone(), tensor));
    }
    Ok(tensors)
}

/// What is sent back: what is asked for, or all there is.
fn wanted_outputs(
    wanted: Option<head::Few<OutputHead, { head::MAX_TENSORS }>>,
    ports: &[Port],
    binary_by_default: Option<bool>,
) -> Result<Vec<Wanted>, Error> {
    let default = binary_by_default.unwrap_or(false);
    let all = || {
        let wanted = |port: &Port| Wanted {
            name: port.name.clone(),
            binary: default,
        };
        ports.iter().map(wanted).collect()
    };
    let listed = wanted.map_or(vec![], |listed| listed.0);
    if listed.is_empty() {
        return Ok(all());
    }
    let mut seen = HashSet::new();
    listed
        .into_iter()
        .map(|OutputHead { name, parameters }| {
            if !ports.iter().any(|port| port.name == name) {
                return Err(Error::UnknownTensor {
                    kind: "output",
                    name: shortened(&name),
                    known: names(ports.iter().map(|port| &port.name)),
                });
            }
            if !seen.insert(name.clone()) {
                let kind = "output";
                return Err(Error::Twice { kind, name });
            }
            if parameters.shared_memory_region.is_some() {
                return Err(Error::Unsupported("shared memory"));
            }
            if parameters.classification.is_some() {
                return Err(Error::Unsupported("classification"));
            }
            let binary = parameters.binary_data.unwrap_or(default);
            Ok(Wanted { name, binary })
        })
        .collect()
}

#[cfg(test)]
mod tests;
