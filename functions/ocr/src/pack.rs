//! A recogniser with what it reads: the classes' characters, the form of its input, its languages.
//!
//! All of it is in the manifest of the model's folder, so a pack more is a folder more and no code.

use ephemera_engine::{Dim, Error as EngineError, Manifest, Model, PackSpec};

use crate::{Error, Network};

/// A recogniser of text lines.
pub struct Pack {
    pub(crate) network: Network,
    /// Class `i + 1` is `characters[i]`; class 0 is the CTC blank.
    pub(crate) characters: Vec<String>,
    pub(crate) geometry: Geometry,
    /// What it reads.
    pub(crate) spec: PackSpec,
    /// Every character that a class stands for or is part of, in order.
    known: Vec<char>,
}

/// The form of a recogniser's input and answer, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Height of the input.
    pub(crate) height_px: usize,
    /// The input's width is a multiple of it.
    pub(crate) multiple_px: usize,
    /// One step of the answer.
    pub(crate) step_px: usize,
    /// The narrowest input.
    pub(crate) min_width_px: usize,
}

/// Inputs of more have room for no more than a few letters a step.
const MAX_MULTIPLE_PX: usize = 64;
/// A line that has to be filled up to more than this costs more than a page may.
const LARGEST_MIN_WIDTH_PX: usize = 1024;

impl Geometry {
    /// The narrowest input that holds so many columns.
    pub(crate) fn canvas(&self, columns: usize) -> usize {
        let multiple = |width: usize| width.next_multiple_of(self.multiple_px);
        multiple(columns).max(multiple(self.min_width_px))
    }

    /// From `[1, 3, 48, "8*w"]` and `[1, "w", classes]`: a step is 8 px.
    fn of(manifest: &Manifest) -> Result<Geometry, EngineError> {
        let form = || {
            EngineError::Manifest(format!(
                "{}: expected an input [1, 3, 48, \"8*w\"] and an output [1, \"w\", classes]",
                manifest.name
            ))
        };
        let input = manifest.inputs.first().ok_or_else(form)?;
        let output = manifest.outputs.first().ok_or_else(form)?;
        let ([_, _, Dim::Fixed(height), width], [_, steps, Dim::Fixed(classes)]) =
            (input.shape.as_slice(), output.shape.as_slice())
        else {
            return Err(form());
        };
        if *classes != manifest.characters.len() + 1 {
            return Err(EngineError::Manifest(format!(
                "{}: expected a class for each of {} characters and the blank, got {classes}",
                manifest.name,
                manifest.characters.len()
            )));
        }
        match (width.parts()?, steps.parts()?) {
            ((multiple, Some(a)), (steps, Some(b)))
                if a == b
                    && *height > 0
                    && multiple % steps == 0
                    && multiple <= MAX_MULTIPLE_PX =>
            {
                Ok(Geometry {
                    height_px: *height,
                    multiple_px: multiple,
                    step_px: multiple / steps,
                    min_width_px: manifest
                        .pack
                        .as_ref()
                        .map_or(0, |pack| pack.min_width_px)
                        .max(1),
                })
            }
            _ => Err(form()),
        }
    }
}

impl Pack {
    /// Puts a recogniser beside what its manifest says.
    ///
    /// # Errors
    /// [`Error::Model`] when the manifest has no `[pack]`, no characters or shapes of another form.
    pub fn new(mut manifest: Manifest, model: Box<dyn Model>) -> Result<Pack, Error> {
        let missing = |what: &str| {
            EngineError::Manifest(format!(
                "{}: expected {what} of a recogniser, got none",
                manifest.name
            ))
        };
        if manifest.characters.is_empty() {
            return Err(missing("the characters").into());
        }
        let spec = manifest.pack.clone().ok_or_else(|| missing("[pack]"))?;
        if spec.min_width_px > LARGEST_MIN_WIDTH_PX {
            return Err(EngineError::Manifest(format!(
                "{}: expected a min_width_px of at most {LARGEST_MIN_WIDTH_PX}, got {}",
                manifest.name, spec.min_width_px
            ))
            .into());
        }
        let geometry = Geometry::of(&manifest)?;
        let characters = std::mem::take(&mut manifest.characters);
        let mut known: Vec<char> = characters.iter().flat_map(|text| text.chars()).collect();
        known.sort_unstable();
        known.dedup();
        Ok(Pack {
            network: Network::new(manifest, model)?,
            characters,
            geometry,
            spec,
            known,
        })
    }

    /// The folder's name under `models/`.
    pub(crate) fn folder(&self) -> &str {
        &self.network.manifest.name
    }

    /// Whether it can read this character.
    pub(crate) fn knows(&self, character: char) -> bool {
        self.known.binary_search(&character).is_ok()
    }

    /// Whether it reads a script, as ISO 15924 has it.
    pub(crate) fn reads_script(&self, script: &str) -> bool {
        self.spec.scripts.iter().any(|known| known == script)
    }

    /// Whether it reads a language, in this script where one is given.
    pub(crate) fn reads(&self, language: &str, script: Option<&str>) -> bool {
        let known = |tag: &String| match tag.split_once('-') {
            Some((known, in_script)) => known == language && script == Some(in_script),
            None => tag == language && script.is_none_or(|script| self.reads_script(script)),
        };
        self.spec.languages.iter().any(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn steps_follow_the_manifests_shapes() {
        // (input, output, what a step is; none where it is refused)
        let cases = [
            (r#"[1, 3, 48, "8*w"]"#, r#"[1, "w", 3]"#, Some(8)),
            (r#"[1, 3, 48, "4*w"]"#, r#"[1, "w", 3]"#, Some(4)),
            (r#"[1, 3, 48, "8*w"]"#, r#"[1, "2*w", 3]"#, Some(4)),
            (r#"[1, 3, 48, "w"]"#, r#"[1, "w", 3]"#, Some(1)),
            (r#"[1, 3, 48, "4*w"]"#, r#"[1, "3*w", 3]"#, None),
            (r#"[1, 3, 48, "4*w"]"#, r#"[1, "v", 3]"#, None),
            (r#"[1, 3, 48, "65*w"]"#, r#"[1, "w", 3]"#, None),
            (r#"[1, 3, 48, 320]"#, "[1, 40, 3]", None),
            (r#"[1, 3, "h", "4*w"]"#, r#"[1, "w", 3]"#, None),
            (r#"[1, 3, 48]"#, r#"[1, "w", 3]"#, None),
            (r#"[1, 3, 48, "8*w"]"#, r#"[1, "w", 4]"#, None),
        ];
        for (input, output, expected) in cases {
            let text = Fake::recogniser("p", &["a", "b"])
                .replacen(r#"[1, 3, 48, "8*w"]"#, input, 1)
                .replacen(r#"[1, "w", 3]"#, output, 1);
            let manifest = Manifest::parse(&text).expect("a whole manifest");
            let step = Geometry::of(&manifest).ok().map(|form| form.step_px);
            assert_eq!(step, expected, "{input} {output}");
        }
    }

    #[test]
    fn inputs_are_filled_up_to_whole_multiples() {
        let geometry = Geometry {
            height_px: 48,
            multiple_px: 8,
            step_px: 8,
            min_width_px: 12,
        };
        for (columns, expected) in [(1, 16), (16, 16), (17, 24), (800, 800)] {
            assert_eq!(geometry.canvas(columns), expected);
        }
    }

    #[test]
    fn packs_read_what_their_manifests_say() {
        let spec =
            "name = \"p\"\nlanguages = [\"hi\", \"sa-Latn\"]\nscripts = [\"Deva\", \"Latn\"]";
        let pack = Fake::pack_of("ocr-recogniser-p", spec, &["क", "ab", " "], vec![]);
        assert!(pack.reads("hi", None) && pack.reads("hi", Some("Latn")));
        assert!(!pack.reads("hi", Some("Cyrl")) && !pack.reads("en", None));
        assert!(pack.reads("sa", Some("Latn")) && !pack.reads("sa", None));
        assert!(pack.knows('b') && pack.knows('क') && !pack.knows('c'));
        assert_eq!(pack.folder(), "ocr-recogniser-p");
    }
}
