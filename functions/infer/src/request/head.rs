//! JSON -> [`Head`]: all of a request but its numbers, in bounded lists.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::Error;

/// Inputs, and outputs, of a request.
pub(super) const MAX_TENSORS: usize = 64;

/// Axes of a tensor; the importer takes no more.
const MAX_RANK: usize = 16;

/// Characters of a parser's complaint, which may repeat what was sent.
const MAX_COMPLAINT: usize = 200;

/// What is there once.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: RequestParameters,
    pub(super) inputs: Few<InputHead, MAX_TENSORS>,
    pub(super) outputs: Option<Few<OutputHead, MAX_TENSORS>>,
}

/// An input. Its data is read later.
#[derive(Deserialize)]
pub(super) struct InputHead {
    pub(super) name: String,
    pub(super) shape: Few<u64, MAX_RANK>,
    pub(super) datatype: String,
    #[serde(default)]
    pub(super) parameters: InputParameters,
    pub(super) data: Option<IgnoredAny>,
}

/// An output that is asked for.
#[derive(Deserialize)]
pub(super) struct OutputHead {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: OutputParameters,
}

// Parameters that nobody here knows change nothing, as the protocol wants it; those that would change the answer are refused.

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestParameters {
    pub(super) binary_data_output: Option<bool>,
    pub(super) sequence_id: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct InputParameters {
    pub(super) binary_data_size: Option<u64>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputParameters {
    pub(super) binary_data: Option<bool>,
    pub(super) classification: Option<IgnoredAny>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// Reads `json`, without its numbers.
///
/// # Errors
/// [`Error::Json`] when it is not of this form.
pub(super) fn parse(json: &[u8]) -> Result<Head, Error> {
    serde_json::from_slice(json).map_err(|error| complaint(&error))
}

/// The parser's words, as far as they are short.
pub(super) fn complaint(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    Error::Json(text.chars().take(MAX_COMPLAINT).collect())
}

/// A list of at most `N`, so that a short text cannot become a long list.
pub(super) struct Few<T, const N: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FewVisitor<T, N> {
    type Value = Few<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut few = vec![];
        while let Some(item) = list.next_element()? {
            if few.len() == N {
                return Err(A::Error::invalid_length(N + 1, &self));
            }
            few.push(item);
        }
        Ok(Few(few))
    }
}
