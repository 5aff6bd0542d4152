//! [`Placement`]: which of a function's two builds.

use std::borrow::Cow;

use crate::config::Function;

/// Where a function's models are: the two builds of a function lie side by side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placement {
    /// In the function's memory image. Runs on every host.
    #[default]
    Guest,
    /// In the host, behind wasi-nn. Runs on ours alone.
    Host,
}

impl Placement {
    /// Where the models of `function` are: in the host only if it has a build for that.
    pub(crate) fn possible(self, function: &Function) -> Self {
        match function.wasi_nn {
            true => self,
            false => Self::Guest,
        }
    }

    /// `function` with the paths of this build: `ocr.wasm`, or `ocr.nn.wasm`.
    pub(super) fn of(self, function: &Function) -> Cow<'_, Function> {
        match self {
            Self::Guest => Cow::Borrowed(function),
            Self::Host => Cow::Owned(Function {
                source: function.source.with_extension("nn.wasm"),
                ..function.clone()
            }),
        }
    }
}
