//! Tables of reals beside a model: one row of numbers for each name, such as an embedding for each condition.
//!
//! `model.toml` says what a table's file holds. Whoever reads the model's folder checks the file's SHA-256; the bundle carries the bytes on.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Error;

/// One table of a model.
#[derive(Debug, Clone, Deserialize)]
pub struct Table {
    /// What the function asks for it by.
    pub name: String,
    /// The file in the model's folder: `[rows, columns] f32`, little-endian, row by row.
    pub file: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// A name for each row, in order.
    pub rows: Vec<String>,
    /// Numbers in a row.
    pub columns: usize,
    /// `[rows, columns]`, all finite; empty until [`fill`](Self::fill) has been called.
    #[serde(skip)]
    pub values: Vec<f32>,
}

/// Largest file of a table: what a request may hold beside a model and its activations.
const MAX_BYTES: usize = 1 << 24;

/// Names in a bundle that are not a table's.
const TAKEN: [&str; 4] = ["model.toml", "model.onnx", "program", "weights"];

impl Table {
    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let elements = self.rows.len().saturating_mul(self.columns);
        elements.saturating_mul(size_of::<f32>())
    }

    /// Takes the bytes of the file over.
    ///
    /// # Errors
    /// [`Error::Manifest`] when there are not as many as rows and columns say, or a number is not finite.
    pub fn fill(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() != self.bytes() {
            return Err(self.error(&format!(
                "expected {} bytes for {} rows of {} columns, got {}",
                self.bytes(),
                self.rows.len(),
                self.columns,
                bytes.len()
            )));
        }
        let values = bytes.as_chunks().0.iter();
        let values: Vec<f32> = values.map(|&chunk| f32::from_le_bytes(chunk)).collect();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.error(&format!(
                "row {:?}, column {}: {} is not finite",
                self.rows[at / self.columns],
                at % self.columns,
                values[at]
            )));
        }
        self.values = values;
        Ok(())
    }

    /// The numbers of the row `name`; `None` when there is no such row, or the table has not been filled.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&[f32]> {
        let index = self.rows.iter().position(|row| row == name)?;
        self.values.get(index * self.columns..)?.get(..self.columns)
    }

    /// What `model.toml` says is sound in itself.
    pub(crate) fn check(&self) -> Result<(), Error> {
        names("rows", &self.rows).map_err(|what| self.error(&what))?;
        if !(1..=MAX_BYTES).contains(&self.bytes()) {
            return Err(self.error(&format!(
                "{} rows of {} columns, expected 1 to {MAX_BYTES} bytes",
                self.rows.len(),
                self.columns
            )));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let sound = self.file.chars().all(plain) && !self.file.starts_with('.');
        if !sound || self.file.is_empty() || TAKEN.contains(&self.file.as_str()) {
            return Err(self.error(&format!(
                "expected the plain name of a file of its own, got {:?}",
                self.file
            )));
        }
        Ok(())
    }

    fn error(&self, what: &str) -> Error {
        Error::Manifest(format!("table {}: {what}", self.name))
    }
}

/// Checks that none of `names`, which are the `what`, is empty or there twice.
pub(crate) fn names<'n>(
    what: &str,
    names: impl IntoIterator<Item = &'n String>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(format!("an empty name among the {what}"));
        }
        if !seen.insert(name) {
            return Err(format!("{name:?} is twice among the {what}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        Table {
            name: "t".to_owned(),
            file: "t.f32".to_owned(),
            sha256: String::new(),
            rows: names(["a", "b"]),
            columns: 3,
            values: vec![],
        }
    }

    #[test]
    fn rows_follow_each_other() {
        let mut table = table();
        assert_eq!((table.bytes(), table.row("a")), (24, None));
        let numbers = [1.0f32, 2.0, 3.0, -4.0, 0.5, 6.0];
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        table.fill(&bytes).expect("six numbers");
        assert_eq!(table.row("b"), Some(&[-4.0, 0.5, 6.0][..]));
        assert_eq!(table.row("c"), None);
        // 1.5 is 0x3fc00000.
        table.fill(&[0, 0, 0xc0, 0x3f].repeat(6)).expect("another");
        assert_eq!(table.row("a"), Some(&[1.5; 3][..]));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let mut filled = table();
        let error = filled.fill(&[0; 20]).expect_err("five numbers");
        let expected = "table t: expected 24 bytes for 2 rows of 3 columns, got 20";
        assert!(error.to_string().contains(expected), "{error}");
        for number in [f32::NAN, f32::INFINITY] {
            let bytes = [0.0, 0.0, 0.0, 0.0, number, 0.0].map(f32::to_le_bytes);
            let error = filled.fill(bytes.as_flattened()).expect_err("not finite");
            assert!(error.to_string().contains("row \"b\", column 1"), "{error}");
        }
        assert!(filled.values.is_empty());

        type Change = fn(&mut Table);
        let cases: [(Change, &str); 6] = [
            (|t| t.rows[1] = "a".into(), "\"a\" is twice among the rows"),
            (|t| t.rows[1].clear(), "an empty name among the rows"),
            (|t| t.rows.clear(), "0 rows"),
            (|t| t.columns = 0, "0 columns"),
            (|t| t.columns = usize::MAX, "expected 1 to"),
            (|t| t.file = "weights".into(), "a file of its own"),
        ];
        for (change, expected) in cases {
            let mut table = table();
            change(&mut table);
            let error = table.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        for file in ["", "..", ".t", "a/b", "../t", "a\\b", "model.toml"] {
            let table = Table {
                file: file.to_owned(),
                ..table()
            };
            assert!(table.check().is_err(), "{file:?}");
        }
        table().check().expect("a sound table");
    }
}
