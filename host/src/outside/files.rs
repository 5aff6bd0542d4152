//! What is known of a model -> the texts of its project.

use std::fmt::Write;
use std::path::Path;

use ephemera_engine::{Datatype, Dim, Signature};

use super::COMPONENT;
use crate::digest::Sha256Hex;

/// A model from outside.
pub(super) struct Model<'a> {
    pub(super) name: &'a str,
    /// Where it came from.
    pub(super) file: &'a Path,
    /// Of that file.
    pub(super) original: Sha256Hex,
    /// Of `model.onnx`, which has inside what the file has in others.
    pub(super) stored: Sha256Hex,
    pub(super) signature: &'a Signature,
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Model<'_> {
    /// The file's own name: where it lay is nobody's business.
    fn source(&self) -> String {
        let name = self.file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// `model.toml`.
    pub(super) fn manifest(&self) -> String {
        let mut text = String::from(
            "# Written by `ephemera build --model` from what the ONNX file says. Axes without a number are free; the same word stands for the\n# same extent.\n",
        );
        let fields = [
            ("name", quoted(self.name)),
            ("version", quoted("1")),
            ("source", quoted(&self.source())),
            ("source_sha256", quoted(&self.original.to_string())),
            ("licence", quoted("not stated")),
            ("sha256", quoted(&self.stored.to_string())),
            ("training_data", quoted("Not stated.")),
        ];
        for (key, value) in fields {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        let Signature { inputs, outputs } = self.signature;
        let inputs = inputs
            .iter()
            .map(|input| ("inputs", &input.name, input.datatype, &input.shape));
        let outputs = outputs
            .iter()
            .map(|output| ("outputs", &output.name, output.datatype, &output.shape));
        for (kind, name, datatype, shape) in inputs.chain(outputs) {
            let name = quoted(name);
            let shape = dims(shape);
            let _ = write!(text, "\n[[{kind}]]\nname = {name}\nshape = [{shape}]\n");
            if datatype != Datatype::F32 {
                let _ = writeln!(text, "datatype = \"{datatype}\"");
            }
        }
        text
    }

    /// `spin.toml`.
    pub(super) fn project(&self, example: &str, memory_mib: u32) -> String {
        let Self { name, .. } = self;
        let example = quoted(example);
        format!(
            r#"# Written by `ephemera build --model`. Read by `ephemera` and, unchanged, by Spin.
spin_manifest_version = 2

[application]
name = {application}
version = "0.1.0"

[[trigger.http]]
route = "/v2/..."
component = "{COMPONENT}"

[component.{COMPONENT}]
source = "{COMPONENT}.wasm"

[component.{COMPONENT}.tool.ephemera]
# Without a package: the component is there, and `ephemera build --model` makes it anew.
models = [{model}]
# A quarter more than the example beside this took.
memory_mib = {memory_mib}
timeout_s = 30
example = {example}
"#,
            application = quoted(name),
            model = quoted(name),
        )
    }

    /// `README.md`.
    pub(super) fn card(&self, in_tract: &[String], example: &str, memory_mib: u32) -> String {
        let Self { name, original, .. } = self;
        let source = self.source();
        let Signature { inputs, outputs } = self.signature;
        let mut text = format!(
            "# {name}\n\nFrom `{source}` (SHA-256 `{original}`). Licence and training data are not stated in the file.\n\n| | name | type | shape |\n|---|---|---|---|\n"
        );
        let inputs = inputs
            .iter()
            .map(|input| ("input", &input.name, input.datatype, &input.shape));
        let outputs = outputs
            .iter()
            .map(|output| ("output", &output.name, output.datatype, &output.shape));
        for (kind, name, datatype, shape) in inputs.chain(outputs) {
            let shape = dims(shape).replace('"', "");
            let _ = writeln!(text, "| {kind} | `{name}` | {datatype} | [{shape}] |");
        }
        text += match in_tract.is_empty() {
            true => "\nAll of it runs in int8.\n",
            false => "\nWhat has no integer form runs in tract:\n\n",
        };
        for part in in_tract {
            let _ = writeln!(text, "- {part}");
        }
        let example = example.replace("{url}", "http://127.0.0.1:3000");
        let _ = write!(
            text,
            "\nServe it and ask it, in the folder of `spin.toml`; a request may take {memory_mib} MiB:\n\n```sh\nephemera up\n{example}\n```\n\nWithout `ephemera`: `spin up`, or `wasmtime serve {COMPONENT}.wasm`.\n"
        );
        text
    }
}

/// As a manifest has them.
fn dims(shape: &[Dim]) -> String {
    let dims = shape.iter().map(|dim| match dim {
        Dim::Fixed(extent) => extent.to_string(),
        Dim::Symbolic(text) => quoted(text),
    });
    let dims: Vec<String> = dims.collect();
    dims.join(", ")
}

#[cfg(test)]
mod tests {
    use ephemera_engine::{InputSpec, Manifest, OutputSpec};

    use super::*;
    use crate::config::Project;
    use crate::digest::sha256;

    #[test]
    fn what_is_written_is_read_again() {
        let signature = Signature {
            inputs: vec![InputSpec {
                name: "in \"quoted\"\\ [x]".to_owned(),
                shape: vec![Dim::Symbolic("n".to_owned()), Dim::Fixed(3)],
                datatype: Datatype::I64,
                channels: Default::default(),
                mean: vec![],
                std: vec![],
            }],
            outputs: vec![OutputSpec {
                name: "y".to_owned(),
                shape: vec![],
                datatype: Datatype::F32,
            }],
        };
        let model = Model {
            name: "net-2",
            file: Path::new("/somewhere/Net \"2\".onnx"),
            original: sha256(b"a"),
            stored: sha256(b"b"),
            signature: &signature,
        };
        let manifest = Manifest::parse(&model.manifest()).expect("a manifest");
        assert_eq!(manifest.name, "net-2");
        assert_eq!(manifest.sha256, sha256(b"b").to_string());
        assert_eq!(manifest.source, "Net \"2\".onnx");
        assert_eq!(manifest.inputs[0].name, signature.inputs[0].name);
        assert_eq!(manifest.inputs[0].shape, signature.inputs[0].shape);
        assert_eq!(manifest.inputs[0].datatype, Datatype::I64);
        assert_eq!(manifest.outputs[0].datatype, Datatype::F32);

        let text = model.project("curl -d '{}' {url}", 192);
        let project = Project::parse(&text, Path::new("/p")).expect("a project");
        let function = project.function(COMPONENT).expect("the function");
        assert_eq!(function.limits.memory_bytes, 192 << 20);
        assert_eq!(function.package, None);
        assert_eq!(project.routes.find("/v2/models/net-2"), Some(COMPONENT));
        let card = model.card(&["all of it".to_owned()], "curl {url}", 192);
        assert!(
            card.contains("| input |") && card.contains("- all of it"),
            "{card}"
        );
        assert!(!card.contains("somewhere") && !text.contains("somewhere"));
    }
}
