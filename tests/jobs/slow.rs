//! A disk that is waited for, for as long as a test wants it: a worker's reads and its `fsync`s below a path do not return before.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::wait_until;
use crate::binary::{has, skip};

/// Put between a worker and its C library. Claims are written with `fdatasync`, which is as quick as ever.
const SLOW: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_disk(int file) {
    const char *slow = getenv("SLOW_PATH"), *hold = getenv("SLOW_HOLD");
    char link[64], path[4096], asked[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!slow || !hold || length < 0) return;
    path[length] = 0;
    size_t begin = strlen(slow);
    if (strncmp(path, slow, begin) || (path[begin] && path[begin] != '/')) return;
    snprintf(asked, sizeof asked, "%s.asked", hold);
    while (access(hold, F_OK) == 0) {
        close(open(asked, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        usleep(10000);
    }
}

ssize_t read(int file, void *bytes, size_t count) {
    wait_for_disk(file);
    return syscall(SYS_read, file, bytes, count);
}

int fsync(int file) {
    wait_for_disk(file);
    return syscall(SYS_fsync, file);
}
"#;

/// Everything at and below a path, for a worker that is started by [`wrapper`](Self::wrapper).
pub(super) struct SlowDisk {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl SlowDisk {
    /// `None`, with a word about it, where there is no C compiler.
    pub(super) fn new(path: &Path) -> Result<Option<Self>> {
        if !has("cc") {
            skip("a C compiler is not here")?;
            return Ok(None);
        }
        let disk = Self {
            folder: tempfile::tempdir()?,
            path: path.to_owned(),
        };
        std::fs::write(disk.at("slow.c"), SLOW)?;
        std::fs::write(disk.at("hold"), "")?;
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([disk.at("slow.so"), disk.at("slow.c")])
            .status()?;
        ensure!(status.success(), "{status}");
        Ok(Some(disk))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a worker is started by.
    pub(super) fn wrapper(&self) -> Vec<OsString> {
        let set = |name: &str, value: &Path| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            word
        };
        vec![
            "env".into(),
            set("LD_PRELOAD", &self.at("slow.so")),
            set("SLOW_PATH", &self.path),
            set("SLOW_HOLD", &self.at("hold")),
        ]
    }

    /// Waits until somebody waits for it.
    pub(super) fn wait_until_asked(&self) -> Result<()> {
        let asked = self.at("hold.asked");
        wait_until("the disk is waited for", || Ok(asked.exists()))
    }

    /// From now on it is waited for no longer than any other.
    pub(super) fn hurry(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.at("hold"))?)
    }
}
