//! `model.toml`: what a model takes and gives.
//!
//! The fields that only people read (source, licence, training data) are checked to be there and kept.

use serde::Deserialize;

use crate::table::names;
use crate::{Datatype, Error, PackSpec, Table};

/// The parsed `model.toml` of one model.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The folder's name under `models/`, and the graph's name everywhere else.
    pub name: String,
    /// Grows when the weights change.
    pub version: String,
    /// SPDX expression for the weights.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
    /// SHA-256 of the file named in `source`, lower-case hex.
    pub source_sha256: String,
    /// SHA-256 of `model.onnx`, lower-case hex.
    pub sha256: String,
    /// What the weights were trained on, as far as it is known.
    pub training_data: String,
    /// The graph's inputs.
    pub inputs: Vec<InputSpec>,
    /// The graph's outputs.
    pub outputs: Vec<OutputSpec>,
    /// Text recognisers: class `i + 1` is `characters[i]`; class 0 is the CTC blank.
    #[serde(default)]
    pub characters: Vec<String>,
    /// Text recognisers: which languages they read.
    #[serde(default)]
    pub pack: Option<PackSpec>,
    /// Classifiers: `classes[i]` is what value `i` of the output's last axis stands for.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Numbers that belong to the model; their values come with the folder or the bundle.
    #[serde(default)]
    pub tables: Vec<Table>,
}

/// One input of the graph.
#[derive(Debug, Clone, Deserialize)]
pub struct InputSpec {
    /// Name in the graph.
    pub name: String,
    /// Shape in the graph, `[N, C, ...]`.
    pub shape: Vec<Dim>,
    /// Type of the graph's own elements; f32 where none is named. What is given as pixels is f32 in the graph.
    #[serde(default)]
    pub datatype: Datatype,
    /// Order of the channels that the graph was trained with.
    #[serde(default)]
    pub channels: ChannelOrder,
    /// Mean per graph channel on a 0..=1 scale. Where there is one, the input is an image `[N, C, H, W]` or a clip
    /// `[N, C, T, H, W]`, and is given as pixels, channels last.
    #[serde(default)]
    pub mean: Vec<f32>,
    /// Standard deviation per graph channel on a 0..=1 scale.
    #[serde(default)]
    pub std: Vec<f32>,
}

/// One output of the graph.
#[derive(Debug, Clone, Deserialize)]
pub struct OutputSpec {
    /// Name in the graph.
    pub name: String,
    /// Shape in the graph.
    pub shape: Vec<Dim>,
    /// Type of the elements; f32 where none is named.
    #[serde(default)]
    pub datatype: Datatype,
}

/// One axis: a number, or a multiple of a symbol such as `"32*h"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// A fixed extent.
    Fixed(usize),
    /// An expression over symbols.
    Symbolic(String),
}

/// Order of an image's channels as the graph sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first, as OpenCV reads images.
    Bgr,
}

impl Manifest {
    /// Parses `model.toml`.
    ///
    /// # Errors
    /// [`Error::Manifest`] when a field is missing or contradicts another.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let manifest: Self =
            toml::from_str(text).map_err(|e| Error::Manifest(e.message().to_owned()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// `name@version`: the model as people and answers call it.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The title, and enough of the hash to tell apart models that were given the same one.
    #[must_use]
    pub fn identity(&self) -> String {
        let hash: String = self.sha256.chars().take(12).collect();
        format!("{}+{hash}", self.title())
    }

    /// Our integer programs begin and end with f32.
    #[cfg(feature = "tract")]
    pub(crate) fn expect_reals(&self) -> anyhow::Result<()> {
        let inputs = self
            .inputs
            .iter()
            .map(|input| (&input.name, input.datatype));
        let outputs = self
            .outputs
            .iter()
            .map(|output| (&output.name, output.datatype));
        let mut others = inputs
            .chain(outputs)
            .filter(|(_, datatype)| *datatype != Datatype::F32);
        match others.next() {
            Some((name, datatype)) => anyhow::bail!("{name} is {datatype}"),
            None => Ok(()),
        }
    }

    /// The table `name`.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    fn check(&self) -> Result<(), Error> {
        for input in &self.inputs {
            if !input.mean.is_empty() && input.datatype != Datatype::F32 {
                return Err(Error::Manifest(format!(
                    "input {}: pixels are f32 in the graph, got {}",
                    input.name, input.datatype
                )));
            }
            if input.mean.len() != input.std.len() {
                return Err(Error::Manifest(format!(
                    "input {}: {} means but {} standard deviations",
                    input.name,
                    input.mean.len(),
                    input.std.len()
                )));
            }
            let channels = (!input.mean.is_empty()).then_some(Dim::Fixed(input.mean.len()));
            if channels.is_some()
                && (!(4..=5).contains(&input.shape.len())
                    || input.shape.get(1) != channels.as_ref())
            {
                return Err(Error::Manifest(format!(
                    "input {}: expected [N, {count}, H, W] or [N, {count}, T, H, W], got {:?}",
                    input.name,
                    input.shape,
                    count = input.mean.len()
                )));
            }
            if let Some(std) = input
                .std
                .iter()
                .find(|std| !(std.is_finite() && **std > 0.0))
            {
                return Err(Error::Manifest(format!(
                    "input {}: standard deviation {std} is not positive",
                    input.name
                )));
            }
        }
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(Error::Manifest(
                "expected at least one input and one output".to_owned(),
            ));
        }
        self.check_classes()?;
        self.pack.as_ref().map_or(Ok(()), PackSpec::check)?;
        let tables = || self.tables.iter();
        names("tables", tables().map(|table| &table.name)).map_err(Error::Manifest)?;
        names("tables' files", tables().map(|table| &table.file)).map_err(Error::Manifest)?;
        tables().try_for_each(Table::check)
    }

    /// There is a class for each value of an output.
    fn check_classes(&self) -> Result<(), Error> {
        names("classes", &self.classes).map_err(Error::Manifest)?;
        let count = Dim::Fixed(self.classes.len());
        let fits = |output: &OutputSpec| output.shape.last() == Some(&count);
        if self.classes.is_empty() || self.outputs.iter().any(fits) {
            return Ok(());
        }
        Err(Error::Manifest(format!(
            "{} classes, but no output of as many values",
            self.classes.len()
        )))
    }
}

impl std::fmt::Display for Dim {
    /// As a manifest has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(extent) => write!(f, "{extent}"),
            Self::Symbolic(text) => f.write_str(text),
        }
    }
}

impl Dim {
    /// The factor and symbol of `"32*h"` (32, `h`), `"w"` (1, `w`); a fixed extent has no symbol.
    ///
    /// # Errors
    /// [`Error::Manifest`] for any other expression.
    pub fn parts(&self) -> Result<(usize, Option<&str>), Error> {
        match self {
            Self::Fixed(extent) => Ok((*extent, None)),
            Self::Symbolic(text) => {
                let (factor, symbol) = match text.split_once('*') {
                    Some((factor, symbol)) => (factor.trim().parse().ok(), symbol.trim()),
                    None => (Some(1), text.trim()),
                };
                match factor {
                    Some(factor)
                        if factor > 0
                            && symbol.chars().all(char::is_alphabetic)
                            && !symbol.is_empty() =>
                    {
                        Ok((factor, Some(symbol)))
                    }
                    _ => Err(Error::Manifest(format!(
                        "dimension {text:?}: expected a number, `w` or `8*w`"
                    ))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "m"
        version = "1"
        licence = "Apache-2.0"
        source = "s"
        source_sha256 = "0"
        sha256 = "0"
        training_data = "t"
        inputs = [{ name = "x", shape = [1, 3, "32*h", "w"], channels = "bgr", mean = [0.5, 0.5, 0.5], std = [1, 1, 1] }]
        outputs = [{ name = "y", shape = [1, 7] }]
    "#;

    #[test]
    fn parses_shapes_and_channels() {
        let manifest = Manifest::parse(TEXT).expect("a whole manifest");
        let input = &manifest.inputs[0];
        assert_eq!(input.channels, ChannelOrder::Bgr);
        let parts: Vec<_> = input
            .shape
            .iter()
            .map(|dim| dim.parts().expect("a dimension"))
            .collect();
        assert_eq!(
            parts,
            [(1, None), (3, None), (32, Some("h")), (1, Some("w"))]
        );
        assert!(manifest.characters.is_empty());
        assert!(manifest.classes.is_empty() && manifest.tables.is_empty());
    }

    #[test]
    fn parses_clips_classes_and_tables() {
        let clip = TEXT
            .replacen("[1, 3, \"32*h\", \"w\"]", "[1, 3, 16, 24, 24]", 1)
            .replacen("[1, 7]", "[1, 2]", 1);
        let table = "[[tables]]\nname = \"t\"\nfile = \"t.f32\"\nsha256 = \"0\"\nrows = [\"a\", \"b\"]\ncolumns = 3\n";
        let text = format!("{clip}\nclasses = [\"a\", \"b\"]\n{table}");
        let manifest = Manifest::parse(&text).expect("a whole manifest");
        assert_eq!(manifest.inputs[0].shape.len(), 5);
        assert_eq!(manifest.classes, ["a", "b"]);
        let found = manifest.table("t").expect("the table");
        assert_eq!((found.columns, found.values.len()), (3, 0));
        assert!(manifest.table("u").is_none());
        for (from, to, expected) in [
            ("classes = [\"a\", \"b\"]", "classes = [\"a\"]", "1 classes"),
            (
                "classes = [\"a\", \"b\"]",
                "classes = [\"a\", \"a\"]",
                "twice",
            ),
            (
                table,
                &[table, table].concat(),
                "\"t\" is twice among the tables",
            ),
            ("columns = 3", "columns = 0", "0 columns"),
            ("columns = 3\n", "", "missing field `columns`"),
            (
                "[1, 3, 16, 24, 24]",
                "[1, 3, 24]",
                "[N, 3, H, W] or [N, 3, T, H, W]",
            ),
        ] {
            let error = Manifest::parse(&text.replacen(from, to, 1)).expect_err(to);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (from, to, expected) in [
            ("name = \"m\"\n", "", "missing field `name`"),
            (
                "std = [1, 1, 1]",
                "std = [1, 1]",
                "3 means but 2 standard deviations",
            ),
            (
                "std = [1, 1, 1]",
                "std = [1, 0, 1]",
                "standard deviation 0 is not positive",
            ),
            (
                "outputs = [{ name = \"y\", shape = [1, 7] }]",
                "outputs = []",
                "at least one input and one output",
            ),
        ] {
            let error = Manifest::parse(&TEXT.replacen(from, to, 1))
                .expect_err(to)
                .to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not contain {expected:?}"
            );
        }
        assert!(Dim::Symbolic("w+1".to_owned()).parts().is_err());
        assert!(Dim::Symbolic("0*w".to_owned()).parts().is_err());
    }
}
