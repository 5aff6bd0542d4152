//! What CUDA needs on this machine, looked for where the loader looks; nothing is opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Something that a GPU's worker opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// Its name.
    pub name: &'static str,
    /// What it is for, and who has it.
    pub purpose: &'static str,
    /// Where it lies.
    pub path: Option<PathBuf>,
}

/// Libraries, by the beginning of their file's name, and what they are for.
const LIBRARIES: [(&str, &str); 6] = [
    ("libcuda.so", "the driver"),
    ("libcudart.so", "CUDA 13's runtime (cuda-cudart-13-0)"),
    ("libnvrtc.so", "compiles kernels (cuda-nvrtc-13-0)"),
    ("libcublas.so", "matrix products (libcublas-13-0)"),
    ("libcudnn.so", "convolutions (libcudnn9-cuda-13)"),
    ("libnvidia-ml.so", "what the driver says of its devices"),
];

/// Headers that the kernels include, below the toolkit's folder of headers.
const HEADERS: [(&str, &str); 2] = [
    (
        "cuda_fp16.h",
        "a header of the kernels (cuda-cudart-dev-13-0)",
    ),
    (
        "cuda/std/cstdint",
        "a header of the kernels (cuda-cccl-13-0)",
    ),
];

/// Where each library and header lies, or `None` for those that are missing.
pub fn needed() -> Vec<Needed> {
    let folders = loader_folders();
    let libraries = LIBRARIES.map(|(name, purpose)| Needed {
        name,
        purpose,
        path: folders.iter().find_map(|folder| library(folder, name)),
    });
    let roots = header_roots();
    let headers = HEADERS.map(|(name, purpose)| Needed {
        name,
        purpose,
        path: roots
            .iter()
            .map(|root| root.join(name))
            .find(|path| path.exists()),
    });
    libraries.into_iter().chain(headers).collect()
}

/// A file in `folder` whose name is `name`, or goes on with a version.
fn library(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions: BTreeSet<String> = names
        .filter(|found| {
            let version = found.strip_prefix(name);
            version.is_some_and(|version| version.is_empty() || version.starts_with('.'))
        })
        .collect();
    Some(folder.join(versions.first()?))
}

/// `LD_LIBRARY_PATH`, the loader's configuration, and what it knows by itself.
fn loader_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|paths| std::env::split_paths(&paths).collect())
        .unwrap_or_default();
    configured(Path::new("/etc/ld.so.conf"), 0, &mut folders);
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    for root in ["/lib", "/usr/lib"] {
        folders.push(Path::new(root).join(&multiarch));
        folders.push(root.into());
        folders.push(format!("{root}64").into());
    }
    folders
}

/// Folders that a file of ld.so.conf(5) names, and those that it includes do.
fn configured(file: &Path, depth: u32, folders: &mut Vec<PathBuf>) {
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include ") {
            // A file that includes itself ends somewhere.
            Some(pattern) if depth < 8 => {
                let pattern = pattern.trim();
                let beside = file.parent().unwrap_or(Path::new("/")).join(pattern);
                let found = glob::glob(&beside.to_string_lossy());
                for included in found.into_iter().flatten().flatten() {
                    configured(&included, depth + 1, folders);
                }
            }
            Some(_) => {}
            None if line.starts_with('/') => folders.push(line.into()),
            None => {}
        }
    }
}

/// Folders of the toolkit's headers, in the order in which tract looks for them.
fn header_roots() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .find_map(std::env::var_os);
    let root = named.map_or_else(|| PathBuf::from("/usr/local/cuda"), PathBuf::from);
    let mut includes = vec![root.join("include")];
    if let Ok(targets) = std::fs::read_dir(root.join("targets")) {
        includes.extend(
            targets
                .flatten()
                .map(|target| target.path().join("include")),
        );
    }
    let inner = |include: &PathBuf| {
        let libcudacxx = include.join("libcudacxx").join("include");
        [include.clone(), include.join("cccl"), libcudacxx]
    };
    includes.iter().flat_map(inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_with_their_versions() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["libx.so.13", "libxy.so", "libz.so", "libx.so-old"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let found = |name| library(folder.path(), name);
        assert_eq!(found("libx.so"), Some(folder.path().join("libx.so.13")));
        assert_eq!(found("libz.so"), Some(folder.path().join("libz.so")));
        assert_eq!(found("liby.so"), None);
    }

    #[test]
    fn the_loaders_configuration_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ld.so.conf");
        std::fs::create_dir(folder.path().join("d")).expect("a folder");
        std::fs::write(
            &file,
            "include d/*.conf # more\n/a # one\ninclude ld.so.conf\n",
        )
        .expect("a file");
        std::fs::write(folder.path().join("d/b.conf"), "/b\nrelative\n").expect("a file");
        let mut folders = vec![];
        configured(&file, 7, &mut folders);
        assert_eq!(folders[..2], [PathBuf::from("/b"), PathBuf::from("/a")]);
    }
}
