//! Instructions that a process executes, as valgrind counts them: the same on a busy machine as on an idle one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quell_local::{Answer, Watch, scenario::Staged};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{
    case::Case,
    error::Error,
    scene::{Scene, Side},
    trial::unexpected,
};

/// Millions of instructions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Instructions {
    /// Until it asked for an event.
    pub(crate) init: f64,
    /// Until its first answer.
    pub(crate) cold: f64,
    /// For each event after that.
    pub(crate) warm: f64,
}

pub(crate) fn can_count() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Warm events that are counted together.
const WARM: usize = 4;

pub(crate) async fn count(scene: &Scene, side: Side, case: Case) -> Result<Instructions, Error> {
    let init = until(scene, side, case, Moment::Asked).await?;
    let cold = until(scene, side, case, Moment::Answered(1)).await?;
    let warm = until(scene, side, case, Moment::Answered(1 + WARM)).await?;
    Ok(Instructions { init, cold, warm: (warm - cold) / WARM as f64 })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    Asked,
    Answered(usize),
}

/// Ends a process at this moment.
#[derive(Debug)]
struct End {
    at: Moment,
    answers: AtomicUsize,
}

impl Watch for End {
    fn started(&self, _: u32, _: Instant) {}

    fn asked(&self, pid: u32) {
        if self.at == Moment::Asked {
            end(pid);
        }
    }

    fn given(&self, _: u32) {}

    fn answered(&self, pid: u32) {
        if self.at == Moment::Answered(self.answers.fetch_add(1, Ordering::SeqCst) + 1) {
            end(pid);
        }
    }
}

fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}

async fn until(scene: &Scene, side: Side, case: Case, at: Moment) -> Result<f64, Error> {
    let folder = tempfile::tempdir().map_err(Error::file(Path::new("a temporary folder")))?;
    let (program, counts) = (folder.path().join("bootstrap"), folder.path().join("counts"));
    let script = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file='{}' '{}'\n",
        counts.display(),
        scene.programs.of(side, case)?.display()
    );
    fs::write(&program, script).map_err(Error::file(&program))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&program, executable).map_err(Error::file(&program))?;

    let watch = Arc::new(End { at, answers: AtomicUsize::new(0) });
    let actor = scene.actor_running(program, side, watch)?;
    let deliveries = match at {
        Moment::Asked => 1,
        Moment::Answered(count) => count,
    };
    let mut stages: Vec<Staged> = Vec::new();
    for number in 0..deliveries {
        let name = format!("i{}d{deliveries}n{number}", side as u8);
        stages.push(case.stage(&scene.cloud, &name).await?);
    }
    for staged in &stages {
        let attempt = actor.function.invoke(staged.event.to_string()).await?;
        let is_expected = match at {
            Moment::Asked => matches!(attempt.answer, Answer::Exit(_)),
            Moment::Answered(_) => attempt.answer.is_response(),
        };
        if !is_expected {
            return Err(unexpected(side, &format!("{:?}", attempt.answer)));
        }
    }
    for staged in &stages {
        case.clear(&scene.cloud, staged).await;
    }
    // It writes what it counted when it ends, and it was only just told to.
    for _ in 0..100 {
        let text = fs::read_to_string(&counts).unwrap_or_default();
        if let Some(total) = total_of(&text) {
            return Ok(total / 1e6);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(unexpected(side, "valgrind counted nothing"))
}

/// The last line of a callgrind file that says how many there were in all.
fn total_of(text: &str) -> Option<f64> {
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    total.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        let text = "version: 1\nevents: Ir\nsummary: 2500\n\nfn=(1) main\n1 5\n\ntotals: 2500\n";
        assert_eq!(total_of(text), Some(2500.0));
        assert_eq!(total_of("version: 1\n"), None);
    }
}
