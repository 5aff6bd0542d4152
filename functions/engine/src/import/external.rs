//! Tensors that a file keeps in other files -> one file.

use anyhow::{Context, ensure};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use super::MAX_BYTES;
use crate::Error;

/// Where a tensor's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Relative to the model's folder, as the file says; nothing is known of whether it stays inside.
    pub location: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; up to the end of the file where it is not said.
    pub length: Option<u64>,
}

/// `onnx` with the bytes of all its tensors inside, each fetched by `read`; `None` where they are already.
///
/// # Errors
/// [`Error::Load`] when it is no ONNX model, names a file wrongly, or `read` fails.
pub fn inline_external(
    onnx: &[u8],
    read: &mut dyn FnMut(&External) -> anyhow::Result<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    let mut inline = || {
        ensure!(
            onnx.len() <= MAX_BYTES,
            "{} bytes, limit is {MAX_BYTES}",
            onnx.len()
        );
        let mut model = ModelProto::decode(onnx)?;
        let mut inlined = Inlined {
            read,
            bytes: 0,
            any: false,
        };
        if let Some(graph) = &mut model.graph {
            inlined.graph(graph)?;
        }
        Ok(inlined.any.then(|| model.encode_to_vec()))
    };
    inline().map_err(Error::Load)
}

struct Inlined<'r> {
    read: &'r mut dyn FnMut(&External) -> anyhow::Result<Vec<u8>>,
    /// Fetched so far.
    bytes: usize,
    any: bool,
}

impl Inlined<'_> {
    fn graph(&mut self, graph: &mut GraphProto) -> anyhow::Result<()> {
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        // protobuf's decoder bounds how deep graphs lie in each other.
        for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                self.tensor(tensor)?;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                self.graph(graph)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> anyhow::Result<()> {
        if tensor.data_location != Some(DataLocation::External.into()) {
            return Ok(());
        }
        let about = || format!("tensor {:?}", tensor.name);
        let external = external(tensor).with_context(about)?;
        let bytes = (self.read)(&external)
            .with_context(|| format!("reading {:?}", external.location))
            .with_context(about)?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        ensure!(
            self.bytes <= MAX_BYTES,
            "over {MAX_BYTES} bytes in other files"
        );
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = None;
        self.any = true;
        Ok(())
    }
}

fn external(tensor: &TensorProto) -> anyhow::Result<External> {
    let entry = |key: &str| {
        let mut entries = tensor.external_data.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    };
    let number = |key: &str| {
        let number = entry(key).map(str::parse::<u64>).transpose();
        number.with_context(|| format!("{key}: expected a number"))
    };
    Ok(External {
        location: entry("location")
            .context("no location of its data")?
            .to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    })
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::StringStringEntryProto;

    use super::*;

    fn model(entries: &[(&str, &str)]) -> Vec<u8> {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let tensor = TensorProto {
            name: "w".to_owned(),
            data_location: Some(DataLocation::External.into()),
            external_data: entries.iter().map(entry).collect(),
            ..TensorProto::default()
        };
        let graph = GraphProto {
            initializer: vec![tensor],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    #[test]
    fn bytes_from_elsewhere_come_inside() {
        let onnx = model(&[("location", "w.bin"), ("offset", "8"), ("length", "4")]);
        let mut asked = vec![];
        let inlined = inline_external(&onnx, &mut |external| {
            asked.push(external.clone());
            Ok(b"abcd".to_vec())
        });
        let inlined = inlined
            .expect("it is there")
            .expect("something was outside");
        let expected = External {
            location: "w.bin".to_owned(),
            offset: 8,
            length: Some(4),
        };
        assert_eq!(asked, [expected]);
        let graph = ModelProto::decode(&*inlined).expect("a model").graph;
        assert_eq!(graph.expect("a graph").initializer[0].raw_data, b"abcd");
        let again = inline_external(&inlined, &mut |_| anyhow::bail!("nothing is outside"));
        assert_eq!(again.expect("a model"), None);
    }

    #[test]
    fn what_names_no_bytes_is_refused() {
        for entries in [
            &[("offset", "8")][..],
            &[("location", "w"), ("offset", "-1")],
        ] {
            assert!(
                inline_external(&model(entries), &mut |_| Ok(vec![])).is_err(),
                "{entries:?}"
            );
        }
        let gone = model(&[("location", "w")]);
        assert!(inline_external(&gone, &mut |_| anyhow::bail!("gone")).is_err());
    }
}
