//! Messages between the host and a worker: a length-prefixed header, then tensors as they lie in memory.
//!
//! ```text
//! "EGW1" | bytes of the header, u32 | bytes of the body, u64 | header (postcard) | body
//! ```
//!
//! Numbers are little-endian. Both ends are one program, but either may be broken: every size is checked before anything is made of it.

use std::io::{self, Read, Write};

use ephemera_engine::{Data, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a frame begins with; grows with the format.
const MAGIC: [u8; 4] = *b"EGW1";

/// Names, shapes and sentences; a hundred times what the models here need.
const MAX_HEADER_BYTES: u32 = 1 << 16;

/// As many elements as a program's activations may have, in f32.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// Read at once, so that a length that is not true takes no memory.
const CHUNK_BYTES: u64 = 1 << 20;

/// What the host asks of a worker. A worker says [`Answer::Ready`] first, unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Load this graph, with the `model.toml` that has this SHA-256; with whatever is there, if none is given.
    Load(String, Option<String>),
    /// Run this graph, loaded before, on the frame's tensors.
    Run(String),
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Its device works.
    Ready,
    /// The graph is on the device.
    Loaded,
    /// The frame's tensors are the outputs.
    Ran,
    /// It could not.
    Refused(Refusal),
}

/// Why a worker could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// No such folder under `models/`.
    UnknownGraph,
    /// Its `model.toml` is another one now.
    Changed,
    /// Tensors that are not the manifest's.
    Input(String),
    /// The device does not work.
    Unavailable(String),
    /// It takes this many bytes at least, which is more than the limit.
    Memory(u64),
    /// Anything else; what is on the device is not to be trusted after it.
    Failed(String),
}

/// Tensors by name.
pub(super) type Tensors = Vec<(String, Tensor)>;

#[derive(Serialize, Deserialize)]
struct Header<M> {
    message: M,
    tensors: Vec<Described>,
}

#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    kind: Kind,
    shape: Vec<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    U8,
    F32,
}

impl Described {
    /// Its elements and bytes.
    fn size(&self) -> Option<(usize, u64)> {
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |elements, &extent| elements.checked_mul(extent))?;
        let bytes = match self.kind {
            Kind::U8 => elements,
            Kind::F32 => elements.checked_mul(4)?,
        };
        let fits = bytes <= MAX_BODY_BYTES && elements <= MAX_BODY_BYTES;
        fits.then_some((elements as usize, bytes))
    }
}

/// Writes one frame.
///
/// # Errors
///
/// What `out` says; `InvalidInput` for a message or tensors over the limits.
pub(super) fn write<M: Serialize>(
    out: &mut impl Write,
    message: M,
    tensors: &[(String, Tensor)],
) -> io::Result<()> {
    let described = tensors.iter().map(|(name, tensor)| Described {
        name: name.clone(),
        kind: match tensor.data {
            Data::U8(_) => Kind::U8,
            Data::F32(_) => Kind::F32,
        },
        shape: tensor.shape.iter().map(|&extent| extent as u64).collect(),
    });
    let tensors_described: Vec<Described> = described.collect();
    let sizes = tensors_described.iter().map(Described::size);
    let body = sizes
        .map(|size| size.map(|(_, bytes)| bytes))
        .try_fold(0u64, |sum, bytes| sum.checked_add(bytes?))
        .filter(|&bytes| bytes <= MAX_BODY_BYTES)
        .ok_or_else(|| too_large("tensors", MAX_BODY_BYTES))?;
    let header = Header {
        message,
        tensors: tensors_described,
    };
    let header = postcard::to_allocvec(&header).map_err(io::Error::other)?;
    let header_bytes = u32::try_from(header.len())
        .ok()
        .filter(|&bytes| bytes <= MAX_HEADER_BYTES)
        .ok_or_else(|| too_large("a header", MAX_HEADER_BYTES.into()))?;
    let mut prefix = MAGIC.to_vec();
    prefix.extend(header_bytes.to_le_bytes());
    prefix.extend(body.to_le_bytes());
    prefix.extend(header);
    out.write_all(&prefix)?;
    for (_, tensor) in tensors {
        match &tensor.data {
            Data::U8(bytes) => out.write_all(bytes)?,
            Data::F32(values) => {
                for values in values.chunks(CHUNK_BYTES as usize / 4) {
                    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                    out.write_all(&bytes.collect::<Vec<u8>>())?;
                }
            }
        }
    }
    out.flush()
}

/// Reads one frame; `None` when the other end closed before a byte of it.
///
/// # Errors
///
/// What `input` says; `InvalidData` for what is no frame, `UnexpectedEof` for half of one.
pub(super) fn read<M: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<(M, Tensors)>> {
    let mut prefix = [0; 16];
    let first = loop {
        match input.read(&mut prefix[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut prefix[1..])?;
    let [m0, m1, m2, m3, h0, h1, h2, h3, body @ ..] = prefix;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(invalid("it does not begin as a frame does"));
    }
    let header_bytes = u32::from_le_bytes([h0, h1, h2, h3]);
    let body_bytes = u64::from_le_bytes(body);
    if header_bytes > MAX_HEADER_BYTES || body_bytes > MAX_BODY_BYTES {
        return Err(invalid("it is longer than a frame may be"));
    }
    let header = take(input, header_bytes.into())?;
    let (header, rest): (Header<M>, _) =
        postcard::take_from_bytes(&header).map_err(|_| invalid("its header is none"))?;
    let sizes: Option<Vec<(usize, u64)>> = header.tensors.iter().map(Described::size).collect();
    let sizes = sizes.ok_or_else(|| invalid("a tensor of it is too large"))?;
    let sum = sizes
        .iter()
        .try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
    if !rest.is_empty() || sum != Some(body_bytes) {
        return Err(invalid("its tensors are not as long as its body"));
    }
    let mut tensors = Vec::new();
    for (described, (_, bytes)) in header.tensors.into_iter().zip(sizes) {
        let shape: Vec<usize> = described.shape.iter().map(|&e| e as usize).collect();
        let bytes = take(input, bytes)?;
        let tensor = match described.kind {
            Kind::U8 => Tensor::u8(&shape, bytes),
            Kind::F32 => {
                let values = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
                Tensor::f32(&shape, values.collect())
            }
        };
        let tensor = tensor.map_err(|_| invalid("a tensor of it is not as long as its shape"))?;
        tensors.push((described.name, tensor));
    }
    Ok(Some((header.message, tensors)))
}

fn take(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    while (taken.len() as u64) < bytes {
        let start = taken.len();
        let next = (bytes - start as u64).min(CHUNK_BYTES) as usize;
        taken.resize(start + next, 0);
        input.read_exact(&mut taken[start..])?;
    }
    Ok(taken)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a frame: {what}"))
}

fn too_large(what: &str, limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what} of over {limit} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensors() -> Tensors {
        vec![
            (
                "x".to_owned(),
                Tensor::u8(&[1, 2, 2], vec![1, 2, 3, 255]).expect("a tensor"),
            ),
            (
                "y".to_owned(),
                Tensor::f32(&[2], vec![f32::MIN, 0.5]).expect("a tensor"),
            ),
            ("z".to_owned(), Tensor::f32(&[0], vec![]).expect("a tensor")),
        ]
    }

    fn frame() -> Vec<u8> {
        let mut bytes = vec![];
        write(&mut bytes, Ask::Run("g".to_owned()), &tensors()).expect("a frame");
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = frame();
        bytes.extend(frame());
        let mut input = &bytes[..];
        for _ in 0..2 {
            let read: (Ask, Tensors) = read(&mut input).expect("a frame").expect("one");
            assert_eq!(read, (Ask::Run("g".to_owned()), tensors()));
        }
        let end: Option<(Ask, Tensors)> = read(&mut input).expect("the end");
        assert_eq!(end, None);
    }

    #[test]
    fn half_a_frame_and_forged_lengths_are_errors() {
        let bytes = frame();
        for length in 1..bytes.len() {
            let error = read::<Ask>(&mut &bytes[..length]).expect_err("half of it");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        for (at, value) in [(0, b'X'), (7, 0xff), (15, 0xff), (8, bytes[8] ^ 1)] {
            let mut forged = bytes.clone();
            forged[at] = value;
            let error = read::<Ask>(&mut &forged[..]).expect_err("a forged length");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), framed in any::<bool>()) {
            if framed {
                let mut whole = MAGIC.to_vec();
                whole.extend((bytes.len() as u32 / 2).to_le_bytes());
                whole.extend((bytes.len() as u64 / 3).to_le_bytes());
                whole.append(&mut bytes);
                bytes = whole;
            }
            let _ = read::<Answer>(&mut &bytes[..]);
        }
    }
}
