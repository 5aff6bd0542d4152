//! Tensors -> the answer's bytes: a JSON object, and behind it the outputs that are wanted as binary data.

use std::io::{self, Write};

use ephemera_engine::{Datatype, RawTensor};
use ephemera_http::HttpAnswer;
use serde::{Serialize, Serializer};

use crate::request::Wanted;
use crate::{Error, Hosted, datatype};

/// Largest answer, in bytes. The instance holds it beside its models, and grows it by doubling.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The answer with the outputs that are wanted, in the order of the request.
///
/// # Errors
/// [`Error::NoJson`], [`Error::NotFinite`] for what JSON cannot hold, [`Error::AnswerTooLarge`].
pub(crate) fn answer(
    model: &Hosted,
    id: Option<String>,
    results: Vec<(String, RawTensor)>,
    wanted: &[Wanted],
) -> Result<HttpAnswer, Error> {
    let chosen = wanted.iter().filter_map(|wanted| {
        let found = results.iter().find(|(name, _)| *name == wanted.name);
        found.map(|(_, tensor)| (wanted, tensor))
    });
    let chosen: Vec<(&Wanted, &RawTensor)> = chosen.collect();
    let outputs: Result<Vec<Output>, Error> = chosen
        .iter()
        .map(|(wanted, tensor)| Output::new(wanted, tensor))
        .collect();
    let body = Body {
        model_name: &model.name,
        model_version: &model.version,
        id,
        outputs: outputs?,
    };
    let limit = MAX_ANSWER_BYTES;
    let mut bytes = Bounded(vec![]);
    serde_json::to_writer(&mut bytes, &body).map_err(|_| Error::AnswerTooLarge { limit })?;
    let json_bytes = bytes.0.len();
    let binary = chosen.iter().filter(|(wanted, _)| wanted.binary);
    for (_, tensor) in binary.clone() {
        let written = bytes.write_all(tensor.bytes());
        written.map_err(|_| Error::AnswerTooLarge { limit })?;
    }
    if binary.count() == 0 {
        return Ok(HttpAnswer::document("application/json", bytes.0));
    }
    let mut answer = HttpAnswer::document("application/octet-stream", bytes.0);
    let length = ("inference-header-content-length", json_bytes.to_string());
    answer.headers.push(length);
    Ok(answer)
}

#[derive(Serialize)]
struct Body<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements<'a>>,
}

#[derive(Serialize)]
struct Parameters {
    binary_data_size: usize,
}

impl<'a> Output<'a> {
    fn new(wanted: &'a Wanted, tensor: &'a RawTensor) -> Result<Output<'a>, Error> {
        let binary_data_size = tensor.bytes().len();
        let elements = Elements(tensor);
        if !wanted.binary {
            elements.expect_json(&wanted.name)?;
        }
        Ok(Output {
            name: &wanted.name,
            datatype: datatype::name(tensor.datatype()),
            shape: tensor.shape(),
            parameters: wanted.binary.then_some(Parameters { binary_data_size }),
            data: (!wanted.binary).then_some(elements),
        })
    }
}

/// A tensor's elements, as one flat list.
struct Elements<'a>(&'a RawTensor);

impl Elements<'_> {
    /// Whether JSON has a form for all of them.
    fn expect_json(&self, name: &str) -> Result<(), Error> {
        let finite = match self.0.datatype() {
            Datatype::F16 => {
                return Err(Error::NoJson {
                    name: name.to_owned(),
                    datatype: datatype::name(Datatype::F16),
                });
            }
            Datatype::F32 => self.each(f32::from_le_bytes).all(f32::is_finite),
            Datatype::F64 => self.each(f64::from_le_bytes).all(f64::is_finite),
            _ => true,
        };
        match finite {
            true => Ok(()),
            false => Err(Error::NotFinite(name.to_owned())),
        }
    }

    fn each<const N: usize, T>(&self, read: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        let (elements, _) = self.0.bytes().as_chunks();
        elements.iter().map(move |bytes| read(*bytes))
    }
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.datatype() {
            Datatype::Bool => to.collect_seq(self.each(|[byte]| byte != 0)),
            Datatype::U8 => to.collect_seq(self.each(u8::from_le_bytes)),
            Datatype::U16 => to.collect_seq(self.each(u16::from_le_bytes)),
            Datatype::U32 => to.collect_seq(self.each(u32::from_le_bytes)),
            Datatype::U64 => to.collect_seq(self.each(u64::from_le_bytes)),
            Datatype::I8 => to.collect_seq(self.each(i8::from_le_bytes)),
            Datatype::I16 => to.collect_seq(self.each(i16::from_le_bytes)),
            Datatype::I32 => to.collect_seq(self.each(i32::from_le_bytes)),
            Datatype::I64 => to.collect_seq(self.each(i64::from_le_bytes)),
            Datatype::F32 => to.collect_seq(self.each(f32::from_le_bytes)),
            Datatype::F64 => to.collect_seq(self.each(f64::from_le_bytes)),
            Datatype::F16 => Err(serde::ser::Error::custom("no form for FP16")),
        }
    }
}

/// Takes as much as an answer may have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_ANSWER_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
