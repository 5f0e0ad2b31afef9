//! What processes cost, as Linux counts it. On other systems there are no such figures.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use crate::{OUTPUT, Result};

/// Linux counts the CPU time that it shows in hundredths of a second, whatever it uses inside.
const MS_PER_TICK: f64 = 10.0;

/// The processes that a measurement looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots {
    pub(crate) workers: Vec<u32>,
    pub(crate) broker: Option<u32>,
    pub(crate) database: Option<u32>,
}

/// CPU time in ms: since each process began, or between two such moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) worker: f64,
    pub(crate) broker: f64,
    pub(crate) database: f64,
    /// This process, without those that it started.
    pub(crate) generator: f64,
}

impl Cpu {
    /// Until now; of each root with all that it has started.
    pub(crate) fn now(roots: &Roots) -> Option<Self> {
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(id) = id
                && let Some(process) = Process::read(id)
            {
                processes.insert(id, process);
            }
        }
        let generator = processes.get(&std::process::id())?.own;
        let mut cpu = Self {
            worker: 0.0,
            broker: 0.0,
            database: 0.0,
            generator,
        };
        for (id, process) in &processes {
            let total = process.own + process.ended_children;
            let mut next = Some(*id);
            while let Some(ancestor) = next {
                match ancestor {
                    root if roots.workers.contains(&root) => cpu.worker += total,
                    root if roots.broker == Some(root) => cpu.broker += total,
                    root if roots.database == Some(root) => cpu.database += total,
                    _ => {}
                }
                next = processes.get(&ancestor).map(|process| process.parent);
            }
        }
        Some(cpu)
    }

    /// From `earlier` to this, for each 1000 of `count`.
    pub(crate) fn per_1000(self, earlier: Self, count: usize) -> Self {
        let each = |now: f64, then: f64| (now - then) * 1000.0 / count as f64;
        Self {
            worker: each(self.worker, earlier.worker),
            broker: each(self.broker, earlier.broker),
            database: each(self.database, earlier.database),
            generator: each(self.generator, earlier.generator),
        }
    }
}

struct Process {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in brackets, may hold anything; the fields begin behind it.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let time = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? * MS_PER_TICK);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: time(11)? + time(12)?,
            ended_children: time(13)? + time(14)?,
        })
    }
}

/// The most memory that a process has held so far, in MiB.
pub(crate) fn peak_memory(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Notes where a process is, some thousand times a second, as long as it runs.
pub(crate) struct Sampler(Child);

impl Sampler {
    /// Begins; what it notes goes to a file of this name.
    pub(crate) fn attach(id: u32, name: &str) -> Result<Self> {
        fs::create_dir_all(OUTPUT)?;
        // The clock and not the processor's counters, which virtual machines seldom have.
        let mut command = Command::new("perf");
        command.args([
            "record",
            "--quiet",
            "--event=cpu-clock",
            "--freq=1999",
            "--call-graph=fp",
        ]);
        command
            .arg(format!("--pid={id}"))
            .arg(format!("--output={OUTPUT}/{name}"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.map_err(|error| {
            format!("perf, which --profile needs: {error}")
        })?))
    }

    /// Waits until all is written; the process must have ended.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = self.0.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("perf ended with {status}").into())
        }
    }
}
