//! Files of the folders that the host has opened for the component.

use std::path::Path;

use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasi::random::random::get_random_u64;

use super::stream;

/// The folders, with their names.
pub(super) struct Folders(Vec<(Descriptor, String)>);

impl Folders {
    pub(super) fn opened() -> Self {
        Self(get_directories())
    }

    /// The first `limit_bytes` of a file.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence that names no path.
    pub(super) fn read(&self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, String> {
        let (folder, rest) = self.find(path)?;
        let cannot = |code: ErrorCode| format!("cannot be read: {}", code.name());
        let file = folder
            .open_at(
                PathFlags::SYMLINK_FOLLOW,
                rest,
                OpenFlags::empty(),
                DescriptorFlags::READ,
            )
            .map_err(cannot)?;
        let size = file.stat().map_err(cannot)?.size;
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(limit_bytes);
        let content = file.read_via_stream(0).map_err(cannot)?;
        let bytes = stream::read(&content, size, limit_bytes);
        bytes.map_err(|_| "cannot be read".to_owned())
    }

    /// Writes a whole file or none: it takes its name when it is complete. Folders on the way to it are made.
    ///
    /// # Errors
    /// Why it cannot be written, as a sentence that names no path.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let (folder, rest) = self.find(path)?;
        for (end, _) in rest.match_indices('/') {
            match folder.create_directory_at(&rest[..end]) {
                Ok(()) | Err(ErrorCode::Exist) => {}
                Err(code) => return Err(cannot(code)),
            }
        }
        let above = rest.rsplit_once('/').map_or("", |(above, _)| above);
        // A name that nobody else has: two deliveries of a job may write at the same time.
        let unique = get_random_u64();
        let part = match above {
            "" => format!(".{unique:016x}.part"),
            above => format!("{above}/.{unique:016x}.part"),
        };
        let open = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let file = folder
            .open_at(PathFlags::empty(), &part, open, DescriptorFlags::WRITE)
            .map_err(cannot)?;
        let filled = fill(&file, bytes);
        drop(file);
        let written = filled.and_then(|()| folder.rename_at(&part, folder, rest).map_err(cannot));
        if written.is_err() {
            // What is left of it has no other use.
            let _ = folder.unlink_file_at(&part);
        }
        written
    }

    /// Whether there is a file.
    #[cfg(feature = "redis")]
    pub(super) fn has(&self, path: &Path) -> bool {
        let found = self.find(path);
        found.is_ok_and(|(folder, rest)| folder.stat_at(PathFlags::SYMLINK_FOLLOW, rest).is_ok())
    }

    fn find<'p>(&self, path: &'p Path) -> Result<(&Descriptor, &'p str), String> {
        let path = path.to_str().ok_or("expected a path in UTF-8")?;
        let names: Vec<&str> = self.0.iter().map(|(_, name)| name.as_str()).collect();
        let (index, rest) =
            crate::folders::find(&names, path).ok_or_else(|| match names.len() {
                0 => "no folder is open to this component".to_owned(),
                _ => "not below a folder that is open to this component".to_owned(),
            })?;
        Ok((&self.0[index].0, rest))
    }
}

/// Makes `bytes` the content of `file`, and waits until they are stored.
fn fill(file: &Descriptor, bytes: &[u8]) -> Result<(), String> {
    let mut content = file.write_via_stream(0).map_err(cannot)?;
    stream::write(&mut content, bytes).map_err(|_| "cannot be written")?;
    drop(content);
    file.sync_data().map_err(cannot)
}

fn cannot(code: ErrorCode) -> String {
    format!("cannot be written: {}", code.name())
}
