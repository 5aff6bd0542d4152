//! A path -> the bytes of one ONNX file, with the tensors that it keeps in other files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use anyhow::{Context, Result, ensure};
use ephemera_engine::{External, inline_external};

use crate::files;

/// Largest file, in bytes: the importer takes no more.
const MAX_BYTES: u64 = 1 << 30;

/// The file as it is, and the same with all its tensors inside.
///
/// # Errors
///
/// A file that cannot be read or is no model, tensors in files outside its folder.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let about = || format!("reading {}", path.display());
    let original = files::read_at_most(path, MAX_BYTES).with_context(about)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().with_context(about)?;
    let inlined =
        inline_external(&original, &mut |external| fetch(&folder, external)).with_context(about)?;
    let onnx = inlined.unwrap_or_else(|| original.clone());
    Ok((original, onnx))
}

/// Bytes of a file in `folder`. Neither `..` nor a link leads out of it.
fn fetch(folder: &Path, external: &External) -> Result<Vec<u8>> {
    let location = Path::new(&external.location);
    let plain = location
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    ensure!(
        plain && !external.location.is_empty(),
        "{:?} leads out of the model's folder",
        external.location
    );
    let path = folder.join(location).canonicalize()?;
    ensure!(
        path.starts_with(folder),
        "{:?} leads out of the model's folder",
        external.location
    );
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    ensure!(metadata.is_file(), "{:?} is no file", external.location);
    let rest = metadata.len().checked_sub(external.offset);
    let rest =
        rest.with_context(|| format!("offset {} of {} bytes", external.offset, metadata.len()))?;
    let length = external.length.unwrap_or(rest);
    ensure!(
        length <= rest && length <= MAX_BYTES,
        "{length} bytes from {}, the file has {}",
        external.offset,
        metadata.len()
    );
    file.seek(SeekFrom::Start(external.offset))?;
    let mut bytes = vec![];
    file.take(length).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 == length,
        "expected {length} bytes, got {}",
        bytes.len()
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(location: &str, offset: u64, length: Option<u64>) -> External {
        External {
            location: location.to_owned(),
            offset,
            length,
        }
    }

    #[test]
    fn only_files_in_the_folder_are_followed() {
        let around = tempfile::tempdir().expect("a temporary folder");
        let folder = around.path().join("model");
        std::fs::create_dir_all(folder.join("data")).expect("writable");
        std::fs::write(around.path().join("secret"), "secret").expect("writable");
        std::fs::write(folder.join("data/w.bin"), "0123456789").expect("writable");
        std::os::unix::fs::symlink("../secret", folder.join("link")).expect("writable");
        let folder = folder.canonicalize().expect("it exists");

        let fetched =
            |location, offset, length| fetch(&folder, &external(location, offset, length));
        assert_eq!(fetched("data/w.bin", 2, Some(3)).expect("inside"), b"234");
        assert_eq!(fetched("./data/w.bin", 8, None).expect("inside"), b"89");
        let absolute = around.path().join("secret");
        for (location, offset, length) in [
            ("../secret", 0, None),
            ("data/../../secret", 0, None),
            (absolute.to_str().expect("a text"), 0, None),
            ("link", 0, None),
            ("", 0, None),
            ("data", 0, None),
            ("gone", 0, None),
            ("data/w.bin", 11, None),
            ("data/w.bin", 8, Some(3)),
            ("data/w.bin", 0, Some(u64::MAX)),
        ] {
            assert!(
                fetched(location, offset, length).is_err(),
                "{location} {offset} {length:?}"
            );
        }
    }
}
