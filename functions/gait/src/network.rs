//! The model, what it was made for, and how to address it.

use ephemera_engine::{Dim, InputSpec, Manifest, Model, Table};

use crate::Error;
use crate::clip::Shape;

/// Name of the table that has a row of numbers for each condition.
const CONDITIONS: &str = "conditions";

/// A model that tells classes from a clip and a condition.
pub struct Network {
    /// What is known of the model; its classes are what each value of the output stands for.
    pub(crate) manifest: Manifest,
    /// Name of the input `[1, T, S, S, 3] u8`.
    pub(crate) clip: String,
    shape: Shape,
    /// Name of the input `[1, columns] f32`.
    pub(crate) condition: String,
    conditions: Table,
    pub(crate) model: Box<dyn Model>,
}

/// One of a network's conditions, by its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition(usize);

impl Network {
    /// Puts a model beside what its manifest says.
    ///
    /// # Errors
    /// [`Error::Model`] when the manifest is not that of a network with a square clip `[1, 3, T, S, S]` of pixels and a row
    /// of the table `conditions` as inputs, and a class for each value of its output.
    pub fn new(mut manifest: Manifest, model: Box<dyn Model>) -> Result<Network, Error> {
        let wrong = |what: String| {
            let text = format!("{}: {what}", manifest.name);
            Error::Model(ephemera_engine::Error::Manifest(text))
        };
        let is_clip = |input: &&InputSpec| !input.mean.is_empty();
        let clip = manifest.inputs.iter().find(is_clip);
        let (clip, shape) = clip
            .and_then(|clip| Some((clip, Shape::of(clip)?)))
            .ok_or_else(|| wrong("expected an input [1, 3, T, S, S] of pixels".to_owned()))?;
        let mut tables = manifest.tables.iter();
        let place = tables.position(|table| table.name == CONDITIONS);
        let place = place.ok_or_else(|| wrong(format!("expected a table {CONDITIONS}")))?;
        let table = &manifest.tables[place];
        let row = [Dim::Fixed(1), Dim::Fixed(table.columns)];
        let condition = manifest.inputs.iter().find(|input| input.shape == row);
        let condition = condition
            .ok_or_else(|| wrong(format!("expected an input of shape [1, {}]", table.columns)))?;
        if manifest.inputs.len() != 2 || manifest.classes.is_empty() {
            return Err(wrong("expected two inputs, and classes".to_owned()));
        }
        if table.rows.is_empty() || table.values.len() != table.rows.len() * table.columns {
            return Err(wrong(format!("table {CONDITIONS} is empty")));
        }
        Ok(Network {
            clip: clip.name.clone(),
            shape,
            condition: condition.name.clone(),
            // Moved: what is freed while loading stays in every request's memory.
            conditions: manifest.tables.swap_remove(place),
            manifest,
            model,
        })
    }

    /// The clip that it was made for.
    pub fn clip_shape(&self) -> Shape {
        self.shape
    }

    /// Names of the conditions, in order.
    pub fn conditions(&self) -> &[String] {
        &self.conditions.rows
    }

    /// The condition of this name, in capitals or not.
    pub fn condition(&self, name: &str) -> Option<Condition> {
        let mut names = self.conditions.rows.iter();
        let row = names.position(|known| known.eq_ignore_ascii_case(name))?;
        Some(Condition(row))
    }

    /// The numbers that stand for a condition.
    pub(crate) fn embedding(&self, Condition(row): Condition) -> &[f32] {
        let columns = self.conditions.columns;
        &self.conditions.values[row * columns..][..columns]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MANIFEST, manifest};

    /// Is never run.
    struct Idle;

    impl Model for Idle {
        fn run(
            &self,
            _: &[(&str, ephemera_engine::Tensor)],
        ) -> Result<Vec<(String, ephemera_engine::Tensor)>, ephemera_engine::Error> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn conditions_are_found_by_name() {
        let network = Network::new(manifest(MANIFEST), Box::new(Idle)).expect("it fits");
        assert_eq!(network.conditions(), ["Normal", "PD_Early"]);
        for (name, row) in [("Normal", [1.0, 2.0]), ("pd_early", [3.0, 4.0])] {
            let condition = network.condition(name).expect(name);
            assert_eq!(network.embedding(condition), row);
        }
        assert_eq!(network.condition("PD"), None);
        let shape = network.clip_shape();
        assert_eq!((shape.frames, shape.side_px), (3, 4));
    }

    #[test]
    fn models_that_are_something_else_are_refused() {
        for (from, to, expected) in [
            (
                "[1, 3, 3, 4, 4]",
                "[1, 3, 3, 4, 5]",
                "an input [1, 3, T, S, S] of pixels",
            ),
            (
                "[1, 3, 3, 4, 4]",
                "[1, 3, 4, 4]",
                "an input [1, 3, T, S, S] of pixels",
            ),
            (
                "[1, 3, 3, 4, 4]",
                "[1, 3, \"t\", 4, 4]",
                "an input [1, 3, T, S, S] of pixels",
            ),
            (
                "name = \"conditions\"",
                "name = \"others\"",
                "expected a table conditions",
            ),
            (
                "shape = [1, 2]",
                "shape = [1, 7]",
                "expected an input of shape [1, 2]",
            ),
            (
                "classes = [\"Normal\", \"KOA_Early\", \"PD_Early\"]",
                "",
                "expected two inputs, and classes",
            ),
        ] {
            let text = MANIFEST.replacen(from, to, 1);
            assert_ne!(text, MANIFEST, "{from}");
            let refused = Network::new(manifest(&text), Box::new(Idle));
            let Err(Error::Model(error)) = refused else {
                panic!("{to}: expected an error of the model")
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
        let mut empty = manifest(MANIFEST);
        empty.tables[0].values.clear();
        assert!(Network::new(empty, Box::new(Idle)).is_err());
    }
}
