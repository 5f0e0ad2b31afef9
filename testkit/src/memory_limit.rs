//! A control group with a limit of memory: the kernel kills whatever in it goes over the limit.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::worker::{binary, without_settings};

/// A control group of one test. Removed when dropped, once its processes are gone.
pub struct MemoryLimit {
    folder: PathBuf,
    files: &'static Files,
}

/// What the files of a group are called.
struct Files {
    limit: &'static str,
    /// Memory with swap, or swap alone: either way no memory may go there instead.
    swap: &'static str,
    swap_is_apart: bool,
    peak: &'static str,
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    swap_is_apart: false,
    peak: "memory.max_usage_in_bytes",
};
const VERSION_2: Files = Files {
    limit: "memory.max",
    swap: "memory.swap.max",
    swap_is_apart: true,
    peak: "memory.peak",
};

impl MemoryLimit {
    /// A new group; an error says why this machine has none.
    pub fn new(name: &str, bytes: u64) -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, files) = if root.join("memory").join(VERSION_1.limit).exists() {
            (root.join("memory"), &VERSION_1)
        } else if fs::read_to_string(root.join("cgroup.subtree_control"))
            .is_ok_and(|on| on.contains("memory"))
        {
            (root.to_owned(), &VERSION_2)
        } else {
            return Err("the kernel offers no control group for memory".to_owned());
        };
        let folder = parent.join(name);
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self { folder, files };
        group.set(files.limit, bytes)?;
        // A kernel without swap has no such file.
        if group.folder.join(files.swap).exists() {
            group.set(files.swap, if files.swap_is_apart { 0 } else { bytes })?;
        }
        Ok(group)
    }

    fn set(&self, file: &str, bytes: u64) -> Result<(), String> {
        let file = self.folder.join(file);
        fs::write(&file, bytes.to_string()).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The binary, in this group from its first byte of memory on.
    pub fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let processes = self.folder.join("cgroup.procs");
        command
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(processes)
            .arg(binary());
        // As the image has it: else glibc keeps for later what large requests have taken
        // (docs/operations.md).
        command.env("MALLOC_MMAP_THRESHOLD_", "1048576");
        without_settings(command)
    }

    /// The most memory that the group has had, in bytes, with what the kernel keeps for it.
    pub fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.files.peak))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Fails while a killed process is not gone yet; an empty group costs nothing.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
