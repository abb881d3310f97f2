//! What a process has used, read from outside while it waits for Lambda.

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quell_local::Watch;

/// A watch that reads the clocks of every process it sees.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    lives: Mutex<HashMap<u32, Life>>,
}

/// What was read of one process, in order.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) begun: Instant,
    pub(crate) asked: Vec<Reading>,
    pub(crate) given: Vec<Reading>,
    pub(crate) answered: Vec<Reading>,
    /// The most memory it had by its last answer.
    pub(crate) peak_mib: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    /// User and system time of all its threads, also of those that ended.
    pub(crate) cpu: Duration,
}

impl Probe {
    pub(crate) fn lives(&self) -> Vec<Life> {
        self.locked().values().cloned().collect()
    }

    fn read(&self, pid: u32, of: fn(&mut Life) -> &mut Vec<Reading>) {
        let reading = Reading { at: Instant::now(), cpu: cpu(pid).unwrap_or_default() };
        if let Some(life) = self.locked().get_mut(&pid) {
            of(life).push(reading);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u32, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Probe {
    fn started(&self, pid: u32, begun: Instant) {
        let life = Life {
            begun,
            asked: Vec::new(),
            given: Vec::new(),
            answered: Vec::new(),
            peak_mib: 0.0,
        };
        self.locked().insert(pid, life);
    }

    fn asked(&self, pid: u32) {
        self.read(pid, |life| &mut life.asked);
    }

    fn given(&self, pid: u32) {
        self.read(pid, |life| &mut life.given);
    }

    fn answered(&self, pid: u32) {
        self.read(pid, |life| &mut life.answered);
        let peak = peak_mib(pid).unwrap_or_default();
        if let Some(life) = self.locked().get_mut(&pid) {
            life.peak_mib = peak;
        }
    }
}

/// Whether the time that another process has used can be read at all.
pub(crate) fn can_read() -> Result<(), String> {
    cpu(std::process::id()).map(|_| ())
}

/// Files in /proc count in hundredths of a second; this clock counts nanoseconds.
#[cfg(target_os = "linux")]
fn cpu(pid: u32) -> Result<Duration, String> {
    let pid = i32::try_from(pid).map_err(|error| error.to_string())?;
    let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid));
    let time = clock.and_then(nix::time::clock_gettime).map_err(|error| error.to_string())?;
    Ok(time.into())
}

#[cfg(not(target_os = "linux"))]
fn cpu(_: u32) -> Result<Duration, String> {
    Err(format!("this is {}", std::env::consts::OS))
}

fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    peak_of(&status)
}

/// `VmHWM`, in kB as the kernel calls them.
fn peak_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tfloor\nVmPeak:\t    9000 kB\nVmHWM:\t    3072 kB\nVmRSS:\t 100 kB\n";
        assert_eq!(peak_of(status), Some(3.0));
        assert_eq!(peak_of("Name:\tfloor\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_of_a_process_counts_what_it_did() {
        let before = cpu(std::process::id()).unwrap();
        let mut sum = 0_u64;
        for value in 0..5_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(value));
        }
        assert!(cpu(std::process::id()).unwrap() > before);
        assert!(can_read().is_ok());
    }
}
