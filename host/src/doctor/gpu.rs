//! A GPU: its driver, and the libraries that are looked up when the first tensor goes there. None of it is needed; without, the
//! processor computes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Check, read};

/// Starts of the libraries' names, and what they are.
const LIBRARIES: [(&str, &str); 5] = [
    ("libcuda.so", "the driver's own"),
    ("libcudart.so", "CUDA's runtime"),
    ("libcublas.so", "cuBLAS"),
    ("libcudnn.so", "cuDNN"),
    ("libnvrtc.so", "NVRTC"),
];

pub(super) fn checks() -> Vec<Check> {
    let driver = read("/proc/driver/nvidia/version");
    let names = libraries(&folders());
    vec![check(driver.as_deref(), &names)]
}

fn check(driver: Option<&str>, names: &[String]) -> Check {
    let name = "GPU";
    let Some(driver) = driver else {
        return Check::note(name, "no NVIDIA driver: the processor computes");
    };
    let driver = driver.lines().next().unwrap_or_default();
    let driver = driver
        .strip_prefix("NVRM version: ")
        .unwrap_or(driver)
        .trim();
    let lacks = |(start, _): &&(&str, &str)| !names.iter().any(|name| name.starts_with(start));
    let lacking: Vec<_> = LIBRARIES.iter().filter(lacks).collect();
    if lacking.is_empty() {
        return Check::good(name, format!("{driver}; all libraries found"));
    }
    let lacking: Vec<_> = lacking
        .iter()
        .map(|(start, what)| format!("{start} ({what})"))
        .collect();
    Check::warning(
        name,
        format!("{driver}; not found: {}", lacking.join(", ")),
        "install CUDA 13's libraries and cuDNN, or name their folders in LD_LIBRARY_PATH",
    )
}

/// Where the loader looks, but for its cache.
fn folders() -> Vec<PathBuf> {
    let own = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&own).collect();
    let arch = std::env::consts::ARCH;
    folders.extend(
        [
            "/usr/lib",
            "/lib",
            "/usr/lib64",
            "/lib64",
            "/usr/local/cuda/lib64",
        ]
        .map(PathBuf::from),
    );
    folders.push(format!("/usr/lib/{arch}-linux-gnu").into());
    folders
}

/// Names of the shared libraries in `folders` and in the loader's cache.
fn libraries(folders: &[PathBuf]) -> Vec<String> {
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let names = entries.flatten().flatten();
    let mut names: Vec<_> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    // As an ordinary user it is often not in the path.
    let ldconfig = ["/sbin/ldconfig", "/usr/sbin/ldconfig"];
    let ldconfig = ldconfig.into_iter().find(|path| Path::new(path).is_file());
    let cache = ldconfig.and_then(|path| Command::new(path).arg("-p").output().ok());
    if let Some(cache) = cache {
        let text = String::from_utf8_lossy(&cache.stdout);
        let cached = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        names.extend(cached.map(str::to_owned));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(check(None, &[]).state, State::Note);
        let driver = Some("NVRM version: NVIDIA UNIX 580.1\nGCC version: 12\n");
        let mut names: Vec<String> = ["libcuda.so.1", "libcudart.so.13", "libcublas.so.13"]
            .map(str::to_owned)
            .into();
        let lacking = check(driver, &names);
        assert_eq!(lacking.state, State::Warning);
        assert_eq!(
            lacking.found,
            "NVIDIA UNIX 580.1; not found: libcudnn.so (cuDNN), libnvrtc.so (NVRTC)"
        );
        names.extend(["libcudnn.so.9".to_owned(), "libnvrtc.so.13".to_owned()]);
        assert_eq!(check(driver, &names).state, State::Good);
    }

    #[test]
    fn libraries_are_found_in_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("libcudnn.so.9"), b"").expect("a file");
        let names = libraries(&[folder.path().to_owned(), "/no/such/folder".into()]);
        assert!(names.contains(&"libcudnn.so.9".to_owned()));
    }
}
