//! Small ONNX models and their manifests, put together in code.

#![allow(dead_code, reason = "each test takes what it needs")]

use ephemera_engine::{Dim, InputSpec, Manifest, OutputSpec};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// A model in the making; nodes have the names of their outputs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sketch {
    pub(crate) graph: GraphProto,
    inputs: Vec<InputSpec>,
}

/// What an attribute holds.
pub(crate) enum Value<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}

impl Sketch {
    /// An f32 input.
    pub(crate) fn input(&mut self, name: &str, shape: &[&str]) {
        let dim = |text: &&str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) => Dim::Symbolic((*text).to_owned()),
        };
        self.inputs.push(InputSpec {
            name: name.to_owned(),
            shape: shape.iter().map(dim).collect(),
            datatype: Default::default(),
            channels: Default::default(),
            mean: vec![],
            std: vec![],
        });
        self.graph.input.push(value_info(name, shape.len()));
    }

    /// An f32 constant.
    pub(crate) fn reals(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.tensor(name, DataType::Float, shape, bytes.collect());
    }

    /// An i8 constant.
    pub(crate) fn bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) {
        let bytes = values.iter().map(|&value| value as u8);
        self.tensor(name, DataType::Int8, shape, bytes.collect());
    }

    /// An i64 constant.
    pub(crate) fn integers(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.tensor(name, DataType::Int64, shape, bytes.collect());
    }

    /// A constant of any type, raw.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: &[usize],
        raw_data: Vec<u8>,
    ) {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: data_type.into(),
            dims: shape.iter().map(|&extent| extent as i64).collect(),
            raw_data,
            ..TensorProto::default()
        });
    }

    /// `inputs` are separated by spaces; `-` is an absent one. Outputs likewise.
    pub(crate) fn node(
        &mut self,
        op_type: &str,
        inputs: &str,
        outputs: &str,
        attributes: &[(&str, Value)],
    ) -> &mut NodeProto {
        let names = |text: &str| {
            let names = text.split_whitespace();
            names
                .map(|name| {
                    if name == "-" {
                        String::new()
                    } else {
                        name.to_owned()
                    }
                })
                .collect()
        };
        let attribute = |(name, value): &(&str, Value)| {
            let mut attribute = AttributeProto {
                name: (*name).to_owned(),
                ..AttributeProto::default()
            };
            let kind = match value {
                Value::Int(value) => {
                    attribute.i = *value;
                    AttributeType::Int
                }
                Value::Ints(values) => {
                    attribute.ints = values.to_vec();
                    AttributeType::Ints
                }
                Value::Float(value) => {
                    attribute.f = *value;
                    AttributeType::Float
                }
                Value::Text(value) => {
                    attribute.s = value.as_bytes().to_vec();
                    AttributeType::String
                }
            };
            attribute.r#type = kind.into();
            attribute
        };
        self.graph.node.push(NodeProto {
            op_type: op_type.to_owned(),
            name: outputs
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
            input: names(inputs),
            output: names(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        self.graph
            .node
            .last_mut()
            .expect("a node has just been pushed")
    }

    /// The i8 round trip of a tensor, `<name>_q`.
    pub(crate) fn pair(&mut self, name: &str, scale: f32, zero_point: i8) -> String {
        let [scale_name, zero_name, byte, real] =
            ["s", "z", "b", "q"].map(|what| format!("{name}_{what}"));
        self.reals(&scale_name, &[], &[scale]);
        self.bytes(&zero_name, &[], &[zero_point]);
        self.node(
            "QuantizeLinear",
            &format!("{name} {scale_name} {zero_name}"),
            &byte,
            &[],
        );
        self.node(
            "DequantizeLinear",
            &format!("{byte} {scale_name} {zero_name}"),
            &real,
            &[],
        );
        real
    }

    /// A weight, i8 with one scale, and its reals `<name>_q`.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize], scale: f32) -> String {
        let count: usize = shape.iter().product();
        let values: Vec<i8> = (0..count)
            .map(|index| (index * 37 % 255) as u8 as i8)
            .collect();
        let [scale_name, zero_name, real] = ["s", "z", "q"].map(|what| format!("{name}_{what}"));
        self.bytes(name, shape, &values);
        self.reals(&scale_name, &[], &[scale]);
        self.bytes(&zero_name, &[], &[0]);
        self.node(
            "DequantizeLinear",
            &format!("{name} {scale_name} {zero_name}"),
            &real,
            &[],
        );
        real
    }

    /// The model as a file, with these outputs, and its manifest.
    pub(crate) fn finish(mut self, outputs: &[&str]) -> (Manifest, Vec<u8>) {
        for output in outputs {
            self.graph.output.push(value_info(output, 0));
        }
        let manifest = self.manifest(outputs);
        (manifest, model(self.graph).encode_to_vec())
    }

    /// The manifest of a model with these outputs.
    pub(crate) fn manifest(&self, outputs: &[&str]) -> Manifest {
        let output = |name: &&str| OutputSpec {
            name: (*name).to_owned(),
            shape: vec![],
            datatype: Default::default(),
        };
        Manifest {
            name: "sketch".to_owned(),
            version: String::new(),
            licence: String::new(),
            source: String::new(),
            source_sha256: String::new(),
            sha256: String::new(),
            training_data: String::new(),
            inputs: self.inputs.clone(),
            outputs: outputs.iter().map(output).collect(),
            characters: vec![],
            classes: vec![],
            pack: None,
            tables: vec![],
        }
    }
}

/// A model of a graph.
pub(crate) fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn value_info(name: &str, rank: usize) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float.into(),
        shape: (rank > 0).then(TensorShapeProto::default),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
