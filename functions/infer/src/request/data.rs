//! JSON numbers -> elements as bytes.
//!
//! A tensor's data is one flat list in row-major order, or lists within lists as its shape has them. Elements are written where they
//! stay as they are read; nothing is kept of the JSON.

use std::fmt;

use ephemera_engine::Datatype;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Place, head};
use crate::{Error, datatype};

/// The elements of each place that has its numbers in `json`; `None` for the others.
///
/// # Errors
/// [`Error::Json`] when they are not what the place says.
pub(super) fn read(json: &[u8], places: &[Place<'_>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Body(places)
        .deserialize(&mut reader)
        .map_err(|error| head::complaint(&error))
}

/// The request.
struct Body<'a>(&'a [Place<'a>]);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Vec<Option<Vec<u8>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Vec<Option<Vec<u8>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![];
        while let Some(key) = map.next_key::<String>()? {
            if key == "inputs" {
                found = map.next_value_seed(Inputs(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Its list of inputs.
struct Inputs<'a>(&'a [Place<'a>]);

impl<'de> DeserializeSeed<'de> for Inputs<'_> {
    type Value = Vec<Option<Vec<u8>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Vec<Option<Vec<u8>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of inputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::with_capacity(self.0.len());
        for place in self.0 {
            // There are as many as places were made of them.
            found.push(list.next_element_seed(Input(place))?.flatten());
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// One input.
struct Input<'a>(&'a Place<'a>);

impl<'de> DeserializeSeed<'de> for Input<'_> {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Input<'_> {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "data" && self.0.binary_bytes.is_none() {
                let mut elements = Elements::new(self.0);
                let level = Level {
                    elements: &mut elements,
                    depth: 0,
                };
                map.next_value_seed(level)?;
                found = Some(elements.complete().map_err(A::Error::custom)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// What is read of a tensor.
struct Elements<'a> {
    place: &'a Place<'a>,
    bytes: Vec<u8>,
    /// Lists around its first number.
    depth: Option<usize>,
}

/// A number or a truth, as JSON has it.
enum Scalar {
    Unsigned(u64),
    Signed(i64),
    Real(f64),
    Truth(bool),
}

impl<'a> Elements<'a> {
    fn new(place: &'a Place<'a>) -> Self {
        let size = place.port.datatype.size();
        Self {
            place,
            bytes: Vec::with_capacity(place.count * size),
            depth: None,
        }
    }

    fn rank(&self) -> usize {
        self.place.shape.len()
    }

    fn wrong(&self, expected: impl fmt::Display, actual: impl fmt::Display) -> String {
        let name = &self.place.port.name;
        format!("input {name:?}: expected {expected}, got {actual}")
    }

    fn wrong_nesting(&self) -> String {
        let shape = &self.place.shape;
        self.wrong(
            format_args!(
                "a flat list of {} or lists as in shape {shape:?}",
                self.place.count
            ),
            "other lists",
        )
    }

    /// Takes a number within `depth` lists.
    fn push(&mut self, depth: usize, scalar: &Scalar) -> Result<(), String> {
        if depth == 0
            || *self.depth.get_or_insert(depth) != depth
            || (depth != 1 && depth != self.rank())
        {
            return Err(self.wrong_nesting());
        }
        let size = self.place.port.datatype.size();
        if self.bytes.len() == self.place.count * size {
            return Err(self.wrong(format_args!("{} elements", self.place.count), "more"));
        }
        let datatype = self.place.port.datatype;
        if write(datatype, scalar, &mut self.bytes).is_some() {
            return Ok(());
        }
        Err(match scalar {
            Scalar::Unsigned(value) => self.wrong(datatype::name(datatype), value),
            Scalar::Signed(value) => self.wrong(datatype::name(datatype), value),
            Scalar::Real(value) => self.wrong(datatype::name(datatype), value),
            Scalar::Truth(value) => self.wrong(datatype::name(datatype), value),
        })
    }

    /// Ends a list of `items`, which lies within `depth - 1` others.
    fn close(&self, depth: usize, items: usize) -> Result<(), String> {
        let flat = depth == 1 && (self.depth == Some(1) || items == 0) && items == self.place.count;
        let nested = self.depth.is_none_or(|at| at == self.rank())
            && self.place.shape.get(depth - 1) == Some(&items);
        if flat || nested {
            return Ok(());
        }
        let expected = match self.depth {
            Some(1) => self.place.count,
            _ => match self.place.shape.get(depth - 1) {
                Some(extent) => *extent,
                None => return Err(self.wrong_nesting()),
            },
        };
        Err(self.wrong(format_args!("{expected} elements"), items))
    }

    fn complete(self) -> Result<Vec<u8>, String> {
        let size = self.place.port.datatype.size();
        let count = self.bytes.len() / size;
        match count == self.place.count {
            true => Ok(self.bytes),
            false => Err(self.wrong(format_args!("{} elements", self.place.count), count)),
        }
    }
}

/// Writes the scalar as an element; `None` when it is none of this type.
fn write(datatype: Datatype, scalar: &Scalar, to: &mut Vec<u8>) -> Option<()> {
    let whole = match *scalar {
        Scalar::Unsigned(value) => Some(i128::from(value)),
        Scalar::Signed(value) => Some(i128::from(value)),
        Scalar::Real(_) | Scalar::Truth(_) => None,
    };
    let real = match *scalar {
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Signed(value) => Some(value as f64),
        Scalar::Real(value) => Some(value),
        Scalar::Truth(_) => None,
    };
    match datatype {
        Datatype::Bool => match scalar {
            Scalar::Truth(value) => to.push(u8::from(*value)),
            _ => return None,
        },
        Datatype::U8 => to.extend(u8::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::U16 => to.extend(u16::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::U32 => to.extend(u32::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::U64 => to.extend(u64::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::I8 => to.extend(i8::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::I16 => to.extend(i16::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::I32 => to.extend(i32::try_from(whole?).ok()?.to_le_bytes()),
        Datatype::I64 => to.extend(i64::try_from(whole?).ok()?.to_le_bytes()),
        // Refused before anything is read.
        Datatype::F16 => return None,
        Datatype::F32 => {
            // What is too large for the type would become infinite.
            let value = Some(real? as f32).filter(|value| value.is_finite());
            to.extend(value?.to_le_bytes());
        }
        Datatype::F64 => to.extend(real?.to_le_bytes()),
    }
    Some(())
}

/// A number or a list, within `depth` lists.
struct Level<'e, 'a> {
    elements: &'e mut Elements<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_, '_> {
    fn push<E: serde::de::Error>(self, scalar: &Scalar) -> Result<(), E> {
        self.elements.push(self.depth, scalar).map_err(E::custom)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, booleans or lists of them")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.push(&Scalar::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.push(&Scalar::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.push(&Scalar::Real(value))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.push(&Scalar::Truth(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        if depth > self.elements.rank().max(1) {
            return Err(A::Error::custom(self.elements.wrong_nesting()));
        }
        let mut items = 0;
        loop {
            let elements = &mut *self.elements;
            if list.next_element_seed(Level { elements, depth })?.is_none() {
                break;
            }
            items += 1;
        }
        self.elements.close(depth, items).map_err(A::Error::custom)
    }
}
