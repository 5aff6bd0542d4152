//! A model that answers what a test wants, in place of weights.

use std::sync::Mutex;

use ephemera_engine::{Manifest, Model, Tensor};

use crate::pack::Pack;
use crate::{Network, Ocr};

/// Shape and values.
pub(crate) type Answer = (Vec<usize>, Vec<f32>);

/// Gives its answers in turn.
pub(crate) struct Fake {
    answers: Mutex<std::vec::IntoIter<Answer>>,
}

/// What the tests' packs read where it does not matter.
const SPEC: &str = "name = \"latin\"\nlanguages = [\"en\", \"el\"]\nscripts = [\"Latn\", \"Grek\"]\nmin_width_px = 16";

impl Fake {
    /// `answers`: in the order of the runs.
    pub(crate) fn network(name: &str, answers: Vec<Answer>) -> Network {
        let shapes =
            "inputs = [{ name = \"x\", shape = [1] }]\noutputs = [{ name = \"y\", shape = [1] }]\n";
        let text = facts(name) + shapes;
        let manifest = Manifest::parse(&text).expect("a whole manifest");
        Network::new(manifest, Fake::model(answers)).expect("it has an input")
    }

    /// A recogniser with a step of 8 px.
    pub(crate) fn pack(name: &str, characters: &[&str], answers: Vec<Answer>) -> Pack {
        Fake::pack_of(name, SPEC, characters, answers)
    }

    /// The same; `spec`: the manifest's `[pack]`.
    pub(crate) fn pack_of(
        name: &str,
        spec: &str,
        characters: &[&str],
        answers: Vec<Answer>,
    ) -> Pack {
        let text = Fake::recogniser(name, characters).replacen(SPEC, spec, 1);
        let manifest = Manifest::parse(&text).expect("a whole manifest");
        Pack::new(manifest, Fake::model(answers)).expect("a recogniser's manifest")
    }

    /// The manifest of a recogniser.
    pub(crate) fn recogniser(name: &str, characters: &[&str]) -> String {
        let classes = characters.len() + 1;
        let listed = serde_json::to_string(characters).expect("texts are JSON, and so TOML");
        format!(
            "{}characters = {listed}\ninputs = [{{ name = \"x\", shape = [1, 3, 48, \"8*w\"] }}]\n\
             outputs = [{{ name = \"y\", shape = [1, \"w\", {classes}] }}]\n[pack]\n{SPEC}\n",
            facts(name)
        )
    }

    /// The function with one pack.
    pub(crate) fn ocr(detector: Vec<Answer>, characters: &[&str], reader: Vec<Answer>) -> Ocr {
        let pack = Fake::pack("ocr-recogniser-latin", characters, reader);
        Ocr::of(Fake::network("ocr-detector", detector), vec![pack]).expect("there is a pack")
    }

    fn model(answers: Vec<Answer>) -> Box<Fake> {
        Box::new(Fake {
            answers: Mutex::new(answers.into_iter()),
        })
    }
}

fn facts(name: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1\"\nlicence = \"Apache-2.0\"\nsource = \"a test\"\nsource_sha256 = \"0\"\n\
         sha256 = \"0123456789abcdef\"\ntraining_data = \"none\"\n"
    )
}

impl Model for Fake {
    fn run(
        &self,
        inputs: &[(&str, Tensor)],
    ) -> Result<Vec<(String, Tensor)>, ephemera_engine::Error> {
        let [("x", image)] = inputs else {
            panic!("expected one input named x")
        };
        assert_eq!(
            (image.shape[0], image.shape[3]),
            (1, 3),
            "an image is [1, H, W, 3]"
        );
        let (shape, data) = self
            .answers
            .lock()
            .expect("no test panics here")
            .next()
            .expect("an answer is left");
        Ok(vec![("y".to_owned(), Tensor::f32(&shape, data)?)])
    }
}
