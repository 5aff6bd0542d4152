//! A model that answers what a test wants, in place of weights.

use std::sync::Mutex;

use ephemera_engine::{Manifest, Model, Tensor};

use crate::Network;

/// Gives its answers in turn.
pub(crate) struct Fake {
    answers: Mutex<std::vec::IntoIter<(Vec<usize>, Vec<f32>)>>,
}

impl Fake {
    /// `answers`: shape and values, in the order of the runs.
    pub(crate) fn network(name: &str, answers: Vec<(Vec<usize>, Vec<f32>)>) -> Network {
        let text = format!(
            "name = \"{name}\"\nversion = \"1\"\nlicence = \"Apache-2.0\"\nsource = \"a test\"\nsource_sha256 = \"0\"\n\
             sha256 = \"0123456789abcdef\"\ntraining_data = \"none\"\n\
             inputs = [{{ name = \"x\", shape = [1] }}]\noutputs = [{{ name = \"y\", shape = [1] }}]\n"
        );
        let manifest = Manifest::parse(&text).expect("a whole manifest");
        let model = Box::new(Fake {
            answers: Mutex::new(answers.into_iter()),
        });
        Network::new(manifest, model).expect("it has an input")
    }
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
