//! What can fail in the engine, and whose fault it is.

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest (`model.toml`) is not usable.
    #[error("model manifest: {0}")]
    Manifest(String),
    /// The stream of models ended early or holds something else.
    #[error("model bundle: {0}")]
    Bundle(String),
    /// The ONNX file is not usable. The cause is for the log.
    #[error("model graph cannot be loaded")]
    Load(#[source] anyhow::Error),
    /// The caller's tensors do not fit the manifest.
    #[error("model input: {0}")]
    Input(String),
    /// What runs the graph has not the memory for these inputs.
    #[error("model run: {0}")]
    TooLarge(String),
    /// The graph failed while running. The cause is for the log.
    #[error("model run failed")]
    Run(#[source] anyhow::Error),
}
