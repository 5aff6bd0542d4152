//! The models of an image, by name, and what the protocol says of them.

use std::io::Read;

// Where the models run is decided here, and nowhere else.
#[cfg(not(all(feature = "wasi-nn", target_family = "wasm")))]
use ephemera_engine::bundle;
#[cfg(all(feature = "wasi-nn", target_family = "wasm"))]
use ephemera_nn as bundle;

use ephemera_engine::{Dim, Manifest, Port, RawModel};
use ephemera_http::shortened;
use serde::Serialize;

use crate::{Error, datatype};

/// What runs the graphs, in the protocol's words: all of them come from ONNX files.
const PLATFORM: &str = "onnx_onnxv1";

/// All models, in the order of the bundle.
pub struct Catalogue {
    models: Vec<Hosted>,
}

/// One model.
pub struct Hosted {
    /// Its name, which is its folder's.
    pub name: String,
    /// The one version that there is.
    pub version: String,
    /// Of its ONNX file, which the build has compared with the file.
    pub sha256: String,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// Runs it.
    pub graph: Box<dyn RawModel>,
}

impl Catalogue {
    /// Loads all models of a bundle.
    ///
    /// # Errors
    /// [`Error::Model`] when it is no bundle, or holds no model.
    pub fn load(stream: impl Read) -> Result<Catalogue, Error> {
        let models = bundle::load(stream)?;
        if models.is_empty() {
            let error = ephemera_engine::Error::Bundle("expected a model, got none".to_owned());
            return Err(Error::Model(error));
        }
        Ok(Catalogue::of(models.into_iter().map(Hosted::from)))
    }

    /// These models.
    pub fn of(models: impl IntoIterator<Item = Hosted>) -> Catalogue {
        let models = models.into_iter().collect();
        Catalogue { models }
    }

    /// The model of this name, and of this version where one is asked for.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::UnknownVersion`].
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<&Hosted, Error> {
        let found = self.models.iter().find(|model| model.name == name);
        let model = found.ok_or_else(|| Error::UnknownModel {
            name: shortened(name),
            known: names(self.models.iter().map(|model| &model.name)),
        })?;
        match version.filter(|version| *version != model.version) {
            None => Ok(model),
            Some(version) => Err(Error::UnknownVersion {
                version: shortened(version),
                expected: model.version.clone(),
            }),
        }
    }

    /// Each as `name@version+hash`, separated by commas.
    pub fn identity(&self) -> String {
        let identity = |model: &Hosted| {
            let hash: String = model.sha256.chars().take(12).collect();
            format!("{}@{}+{hash}", model.name, model.version)
        };
        let models: Vec<String> = self.models.iter().map(identity).collect();
        models.join(", ")
    }
}

/// Names for a sentence.
pub(crate) fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    names.join(", ")
}

impl<M: RawModel + 'static> From<(Manifest, M)> for Hosted {
    fn from((manifest, graph): (Manifest, M)) -> Hosted {
        Hosted {
            inputs: manifest.input_ports(),
            outputs: manifest.output_ports(),
            name: manifest.name,
            version: manifest.version,
            sha256: manifest.sha256,
            graph: Box::new(graph),
        }
    }
}

/// The body of `GET /v2`.
#[derive(Serialize)]
pub(crate) struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

impl Server {
    pub(crate) const OURS: Server = Server {
        name: "ephemera",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data"],
    };
}

/// The body of `GET /v2/models/{m}`.
#[derive(Serialize)]
pub(crate) struct Metadata<'a> {
    name: &'a str,
    versions: [&'a str; 1],
    platform: &'static str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    /// -1 for an axis without a fixed extent.
    shape: Vec<i64>,
}

impl<'a> From<&'a Hosted> for Metadata<'a> {
    fn from(model: &'a Hosted) -> Metadata<'a> {
        Metadata {
            name: &model.name,
            versions: [&model.version],
            platform: PLATFORM,
            inputs: model.inputs.iter().map(TensorMetadata::from).collect(),
            outputs: model.outputs.iter().map(TensorMetadata::from).collect(),
        }
    }
}

impl<'a> From<&'a Port> for TensorMetadata<'a> {
    fn from(port: &'a Port) -> TensorMetadata<'a> {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => i64::try_from(*extent).unwrap_or(i64::MAX),
            Dim::Symbolic(_) => -1,
        };
        TensorMetadata {
            name: &port.name,
            datatype: datatype::name(port.datatype),
            shape: port.shape.iter().map(extent).collect(),
        }
    }
}
