//! What the operating system knows of this process.

/// One look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    /// Bytes of memory that it has now.
    pub resident_bytes: u64,
    /// CPU time that it has used, in seconds.
    pub cpu_seconds: f64,
    /// Files and connections that it has open.
    pub open_files: usize,
}

/// Looks; `None` where there is no `/proc`.
#[cfg(target_os = "linux")]
pub(crate) fn look() -> Option<Process> {
    let process = procfs::process::Process::myself().ok()?;
    let stat = process.stat().ok()?;
    Some(Process {
        resident_bytes: stat.rss * procfs::page_size(),
        cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        open_files: process.fd_count().ok()?,
    })
}

/// Looks; `None` where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
pub fn look() -> Option<Process> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let process = look().unwrap();
        assert!(
            process.resident_bytes > 1 << 20
                && process.open_files >= 3
                && process.cpu_seconds >= 0.0,
            "{process:?}"
        );
    }
}
