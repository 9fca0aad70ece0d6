//! Child processes, ended by their own id whatever happens, and what the system says of them.

use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde::Serialize;
use tokio::time::Instant;

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) child: Child,
    what: String,
}

impl Guarded {
    pub(crate) fn spawn(command: &mut Command, what: &str) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("{what} cannot be started ({command:?})"))?;
        Ok(Self { child, what: what.to_owned() })
    }

    /// Fails once the child has ended.
    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended by itself: {status}", self.what),
        }
    }

    /// Asks the child to end and waits for it; one that takes longer than `limit` is killed and is an error.
    pub(crate) fn stop(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        kill(self.pid()?, Signal::SIGTERM).with_context(|| format!("{} cannot be asked to end", self.what))?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(began.elapsed() < limit, "{} did not end within {limit:?}", self.what);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let cpu: Duration = clock_getcpuclockid(self.pid()?)?.now()?.into();
        let (user, system) = ticks(&self.of_proc("stat")?).context("/proc/<pid>/stat has an unknown form")?;
        let written = number(&self.of_proc("io")?, "write_bytes:").context("/proc/<pid>/io has no write_bytes")?;
        Ok(Usage { cpu, user, system, written })
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let text = self.of_proc("status")?;
        let kib = |key| number(&text, key).with_context(|| format!("/proc/<pid>/status has no {key}"));
        Ok(Memory { rss_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    fn of_proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("{path} of {}", self.what))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The child is not reaped before `wait`, so its id is still its own. That it has ended is no failure.
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// What a process has used since it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all threads, by the clock of the process: to the nanosecond, where `stat` counts
    /// in hundredths of a second.
    pub(crate) cpu: Duration,
    /// Hundredths of a second, which is the unit of `stat` on every Linux.
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// Bytes it caused to be written to the disk.
    pub(crate) written: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

/// `utime` and `stime`, the 14th and 15th field; the second is a name in brackets that may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 34 0 0 20 0 3 0 1000 1 1";
        assert_eq!(ticks(stat), Some((12, 34)));
    }

    #[test]
    fn a_child_is_gone_when_its_guard_is() {
        let guard = Guarded::spawn(Command::new("sleep").arg("600"), "sleep").unwrap();
        let id = guard.child.id();
        assert!(guard.memory().unwrap().rss_kib > 0);
        drop(guard);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
