//! Tensors of any element type at a graph's border, as bytes: for callers that know a model only by what it says of itself.
//!
//! In: bytes with a type and a shape. Out: the same. [`Model`](crate::Model) stays the border of the functions that know their
//! model; who knows none has a [`RawModel`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graph::Form;
use crate::{Data, Dim, Error, Graph, InputSpec, Manifest, OutputSpec, Tensor};

/// Type of a tensor's elements: those of ONNX that have a fixed size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// One byte, two's complement, as all that follow.
    I8,
    /// Two bytes.
    I16,
    /// Four bytes.
    I32,
    /// Eight bytes.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32: what the manifest means when it names none.
    #[default]
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Datatype {
    /// Bytes of an element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for Datatype {
    /// As a manifest has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A dense tensor of any type, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    datatype: Datatype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl RawTensor {
    /// `bytes`: the elements, little-endian. A boolean is true when its byte is not 0.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not as many bytes as `shape` says.
    pub fn new(datatype: Datatype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, Error> {
        let expected = shape
            .iter()
            .try_fold(datatype.size(), |bytes, &extent| bytes.checked_mul(extent));
        if expected != Some(bytes.len()) {
            return Err(Error::Input(format!(
                "{datatype} {shape:?} is not {} bytes",
                bytes.len()
            )));
        }
        Ok(Self {
            datatype,
            shape,
            bytes,
        })
    }

    /// The elements' type.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// Extent of each axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, little-endian.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For models that take [`Tensor`]s; `None` for what is neither u8 nor f32.
    fn into_tensor(self) -> Option<Tensor> {
        let data = match self.datatype {
            Datatype::U8 => Data::U8(self.bytes),
            Datatype::F32 => {
                let (elements, _) = self.bytes.as_chunks();
                Data::F32(
                    elements
                        .iter()
                        .map(|bytes| f32::from_le_bytes(*bytes))
                        .collect(),
                )
            }
            _ => return None,
        };
        Some(Tensor {
            shape: self.shape,
            data,
        })
    }

    /// f32 elements as bytes.
    fn from_reals(shape: Vec<usize>, values: &[f32]) -> Self {
        let mut bytes = Vec::with_capacity(values.len() * 4);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        Self {
            datatype: Datatype::F32,
            shape,
            bytes,
        }
    }
}

/// An input or output as a caller of [`RawModel::run_raw`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Type of the elements.
    pub datatype: Datatype,
    /// Extent of each axis. An image is `[N, H, W, C]`, a clip `[N, T, H, W, C]`; anything else is as in the graph.
    pub shape: Vec<Dim>,
}

impl From<&InputSpec> for Port {
    fn from(input: &InputSpec) -> Port {
        let mut shape = input.shape.clone();
        let pixels = !input.mean.is_empty();
        if pixels && shape.len() > 1 {
            let channels = shape.remove(1);
            shape.push(channels);
        }
        Port {
            name: input.name.clone(),
            datatype: if pixels { Datatype::U8 } else { input.datatype },
            shape,
        }
    }
}

impl From<&OutputSpec> for Port {
    fn from(output: &OutputSpec) -> Port {
        Port {
            name: output.name.clone(),
            datatype: output.datatype,
            shape: output.shape.clone(),
        }
    }
}

impl Manifest {
    /// The inputs as [`RawModel::run_raw`] takes them.
    #[must_use]
    pub fn input_ports(&self) -> Vec<Port> {
        self.inputs.iter().map(Port::from).collect()
    }

    /// The outputs as [`RawModel::run_raw`] gives them.
    #[must_use]
    pub fn output_ports(&self) -> Vec<Port> {
        self.outputs.iter().map(Port::from).collect()
    }
}

/// A model of which its caller knows what its description says, and no more.
///
/// Whether it runs in this instance or on a device of the host's is decided by who makes the value, as with [`Model`](crate::Model).
pub trait RawModel: Send + Sync {
    /// Runs the graph once, on inputs of the types and in the order of axes that [`Manifest::input_ports`] has. Returns every
    /// output as [`Manifest::output_ports`] has it.
    ///
    /// # Errors
    /// [`Error::Input`] when a name, shape or type is not the manifest's; [`Error::TooLarge`] when there is not the memory for
    /// inputs of these shapes; [`Error::Run`] when the graph itself fails.
    fn run_raw(&self, inputs: Vec<(String, RawTensor)>) -> Result<Vec<(String, RawTensor)>, Error>;

    /// Bytes of activations that a run on tensors of these shapes holds at once, in this instance; zero where it is not ours to count
    /// them.
    ///
    /// # Errors
    /// As [`run_raw`](Self::run_raw).
    fn raw_arena_bytes(&self, inputs: &[(String, RawTensor)]) -> Result<usize, Error>;
}

impl RawModel for Graph {
    fn run_raw(&self, inputs: Vec<(String, RawTensor)>) -> Result<Vec<(String, RawTensor)>, Error> {
        let ordered = ordered(self.ports(), inputs)?;
        match self.form() {
            Form::Int8(_) => {
                let tensors = ordered.into_iter().map(|(port, tensor)| {
                    let about = || Error::Input(format!("{}: expected u8 or f32", port.name));
                    Ok((port.name.as_str(), tensor.into_tensor().ok_or_else(about)?))
                });
                let tensors: Vec<_> = tensors.collect::<Result<_, Error>>()?;
                let outputs = crate::Model::run(self, &tensors)?.into_iter();
                let raw = outputs.map(|(name, output)| match output.data {
                    Data::F32(values) => (name, RawTensor::from_reals(output.shape, &values)),
                    Data::U8(bytes) => {
                        let (datatype, shape) = (Datatype::U8, output.shape);
                        (
                            name,
                            RawTensor {
                                datatype,
                                shape,
                                bytes,
                            },
                        )
                    }
                });
                Ok(raw.collect())
            }
            #[cfg(feature = "tract")]
            Form::Float(graph) => {
                let tensors = ordered.into_iter().map(|(_, tensor)| tensor).collect();
                let outputs = graph
                    .run_raw(self.inputs(), tensors, self.output_datatypes())
                    .map_err(Error::Run)?;
                Ok(self.output_names().iter().cloned().zip(outputs).collect())
            }
        }
    }

    /// Zero when the graph runs in tract.
    fn raw_arena_bytes(&self, inputs: &[(String, RawTensor)]) -> Result<usize, Error> {
        let symbols = symbols(self.ports(), inputs)?;
        match self.form() {
            Form::Int8(program) => program.arena_bytes(&symbols).map_err(Error::Run),
            #[cfg(feature = "tract")]
            Form::Float(_) => Ok(0),
        }
    }
}

/// The tensors of `given` in the order of `ports`, once they are known to be what these say.
///
/// # Errors
/// [`Error::Input`] for a name, a type or a shape that is not a port's, and for shapes that do not fit each other.
pub fn ordered(ports: &[Port], mut given: Named) -> Result<Vec<(&Port, RawTensor)>, Error> {
    symbols(ports, &given)?;
    let count = given.len();
    let mut ordered = Vec::with_capacity(ports.len());
    for port in ports {
        let place = given.iter().position(|(name, _)| *name == port.name);
        let place = place.ok_or_else(|| Error::Input(format!("{} is missing", port.name)))?;
        let (_, tensor) = given.swap_remove(place);
        if tensor.datatype != port.datatype {
            return Err(Error::Input(format!(
                "{}: expected {}, got {}",
                port.name, port.datatype, tensor.datatype
            )));
        }
        ordered.push((port, tensor));
    }
    match given.is_empty() {
        true => Ok(ordered),
        false => Err(Error::Input(format!(
            "expected {} tensors, got {count}",
            ordered.len()
        ))),
    }
}

/// What the symbols of `ports` stand for.
fn symbols(ports: &[Port], given: &[(String, RawTensor)]) -> Result<Vec<i64>, Error> {
    values_of(ports, |port| {
        let found = given.iter().find(|(name, _)| *name == port.name);
        found.map(|(_, tensor)| tensor.shape())
    })
}

/// Tensors by the names of inputs or outputs.
pub type Named = Vec<(String, RawTensor)>;

/// What the symbols of `ports` stand for, in the order in which they appear there. `shape`: the extents given for a port.
///
/// # Errors
/// [`Error::Input`] for a port without a shape, another number of axes, or extents that are not what the port says.
pub(crate) fn values_of<'s>(
    ports: &[Port],
    mut shape: impl FnMut(&Port) -> Option<&'s [usize]>,
) -> Result<Vec<i64>, Error> {
    let mut symbols = Symbols::default();
    for port in ports {
        let missing = || Error::Input(format!("{} is missing", port.name));
        let shape = shape(port).ok_or_else(missing)?;
        symbols.bind(&port.name, &port.shape, shape)?;
    }
    Ok(symbols.values())
}

/// Symbols of a manifest and what they stand for in a request.
#[derive(Default)]
pub(crate) struct Symbols<'m>(Vec<(&'m str, i64)>);

impl<'m> Symbols<'m> {
    /// Takes the values that `shape` gives to the symbols of `dims`.
    ///
    /// # Errors
    /// [`Error::Input`] when it does not fit them, or what was taken before.
    pub(crate) fn bind(
        &mut self,
        name: &str,
        dims: &'m [Dim],
        shape: &[usize],
    ) -> Result<(), Error> {
        let mut fits = dims.len() == shape.len();
        for (dim, &extent) in dims.iter().zip(shape) {
            let (factor, symbol) = dim.parts()?;
            let value = i64::try_from(extent / factor.max(1)).unwrap_or(i64::MAX);
            fits &= match symbol {
                None => extent == factor,
                Some(_) if extent == 0 || extent % factor != 0 => false,
                Some(symbol) => match self.0.iter().find(|(name, _)| *name == symbol) {
                    Some((_, before)) => *before == value,
                    None => {
                        self.0.push((symbol, value));
                        true
                    }
                },
            };
        }
        if fits {
            return Ok(());
        }
        let expected: Vec<String> = dims.iter().map(Dim::to_string).collect();
        Err(Error::Input(format!(
            "{name}: expected shape [{}], got {shape:?}",
            expected.join(", ")
        )))
    }

    /// In the order in which they were first seen.
    pub(crate) fn values(self) -> Vec<i64> {
        self.0.into_iter().map(|(_, value)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, dims: &[&str]) -> Port {
        let dim = |text: &&str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) => Dim::Symbolic((*text).to_owned()),
        };
        Port {
            name: name.to_owned(),
            datatype: Datatype::F32,
            shape: dims.iter().map(dim).collect(),
        }
    }

    #[test]
    fn symbols_stand_for_one_value_each() {
        let ports = [port("a", &["n", "3", "32*h"]), port("b", &["n", "w"])];
        let values = |a: &'static [usize], b: &'static [usize]| {
            let shape = |port: &Port| Some(if port.name == "a" { a } else { b });
            values_of(&ports, shape).map_err(|error| error.to_string())
        };
        assert_eq!(values(&[2, 3, 64], &[2, 9]), Ok(vec![2, 2, 9]));
        let said = "model input: a: expected shape [n, 3, 32*h], got [2, 3, 65]";
        assert_eq!(values(&[2, 3, 65], &[2, 9]), Err(said.to_owned()));
        for (a, b) in [
            (&[2, 4, 64][..], &[2, 9][..]),
            (&[2, 3, 64], &[3, 9]),
            (&[0, 3, 64], &[0, 9]),
            (&[2, 3], &[2, 9]),
            (&[2, 3, 64, 1], &[2, 9]),
            (&[2, 3, usize::MAX], &[2, 9]),
        ] {
            assert!(values(a, b).is_err(), "{a:?} {b:?}");
        }
        assert!(values_of(&ports, |_| None).is_err());
    }

    #[test]
    fn bytes_are_as_many_as_the_shape_says() {
        for (datatype, shape, bytes, fits) in [
            (Datatype::F32, vec![2, 3], 24, true),
            (Datatype::F16, vec![2, 3], 12, true),
            (Datatype::I64, vec![], 8, true),
            (Datatype::Bool, vec![0, 7], 0, true),
            (Datatype::F32, vec![2, 3], 6, false),
            (Datatype::U8, vec![usize::MAX, 2], 0, false),
        ] {
            let tensor = RawTensor::new(datatype, shape.clone(), vec![0; bytes]);
            assert_eq!(tensor.is_ok(), fits, "{datatype} {shape:?}");
        }
    }
}
