//! An embedded AWS behind a proxy that counts, and the functions of each side.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quell_controls::REGISTRY;
use quell_engine::policy::{Budgets, Limits, Mode, Notify, Policy};
use quell_local::{Cloud, Emulator, Function, Proxy, Stack, Watch, proxy::Caller};

use crate::{
    case::Case,
    error::Error,
    tls::{Encrypted, Tls},
};

/// Whose function runs, and how it reaches AWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Quell,
    /// Over TLS, as in AWS, so that it opens connections before its first event.
    Encrypted,
    Custodian,
    /// A function that does nothing.
    Floor,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quell => "Quell",
            Self::Encrypted => "Quell over TLS",
            Self::Custodian => "Cloud Custodian",
            Self::Floor => "lambda_runtime without SDK",
        }
    }

    /// Whether it changes anything.
    pub(crate) fn fixes(self) -> bool {
        self != Self::Floor
    }

    pub(crate) fn is_quell(self) -> bool {
        matches!(self, Self::Quell | Self::Encrypted)
    }
}

/// The programs of the sides.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// With Quell's functions and the floor.
    pub(crate) functions: PathBuf,
    /// What `custodian/package.py` made. `None`: without Cloud Custodian.
    pub(crate) custodian: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn of(&self, side: Side, case: Case) -> Result<PathBuf, Error> {
        let program = match (side, &self.custodian) {
            (Side::Floor, _) => self.functions.join("floor"),
            (Side::Custodian, Some(folder)) => folder.join(case.policy()).join("bootstrap"),
            (Side::Custodian, None) => PathBuf::from("Cloud Custodian"),
            _ => self.functions.join(case.function()),
        };
        if program.is_file() { Ok(program) } else { Err(Error::Missing(program)) }
    }

    /// How many bytes of a package are uploaded to Lambda: of a program, it and little more in a zip.
    pub(crate) fn package_bytes(&self, side: Side, case: Case) -> Result<u64, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(Error::file(path));
        let bytes = match (side, &self.custodian) {
            (Side::Custodian, Some(folder)) => {
                read(&folder.join(format!("{}.zip", case.policy())))?.len()
            }
            _ => zipped(&read(&self.of(side, case)?)?),
        };
        Ok(bytes as u64)
    }
}

/// Headers of the one file `bootstrap` and the directory of the archive.
const ZIP_FRAME: usize = 150;

fn zipped(program: &[u8]) -> usize {
    miniz_oxide::deflate::compress_to_vec(program, 6).len() + ZIP_FRAME
}

pub(crate) struct Scene {
    /// Past the proxy: the benchmark's own eyes.
    pub(crate) cloud: Cloud,
    pub(crate) stack: Stack,
    pub(crate) proxy: Proxy,
    pub(crate) programs: Programs,
    tls: Tls,
    _emulator: Emulator,
}

/// A function, with what it needs as long as it runs.
pub(crate) struct Actor {
    pub(crate) function: Function,
    _endpoint: Option<(Caller, Encrypted)>,
}

/// As Quell's template sets it, and as Cloud Custodian does by default.
pub(crate) const MEMORY_OF_QUELL: u32 = 256;
pub(crate) const MEMORY_OF_CUSTODIAN: u32 = 512;

/// No budget is in the way.
const ANY_NUMBER: Limits = Limits {
    window_minutes: 60,
    control: 1_000_000,
    account: 1_000_000,
    actor: 1_000_000,
    overall: 1_000_000,
};

impl Scene {
    /// Every control enforced, with ledger, policy and messages, in an account that has nothing else.
    pub(crate) async fn begin(programs: &Programs) -> Result<Self, Error> {
        let emulator = Emulator::start()?;
        let cloud = emulator.cloud();
        let proxy = Proxy::start(&emulator.endpoint)?;
        let stack = Stack::deploy(&cloud).await?;
        let policy = Policy {
            budgets: Budgets { critical: ANY_NUMBER, routine: ANY_NUMBER },
            // Every event here is of the same actor: all but the first would be counted instead of told.
            notify: Notify { fold_minutes: 0, ..Notify::DEFAULT },
            ..Policy::by_name(Mode::Enforce, REGISTRY)
        };
        stack.apply_policy(&policy).await?;
        Ok(Self {
            cloud,
            stack,
            proxy,
            programs: programs.clone(),
            tls: Tls::start()?,
            _emulator: emulator,
        })
    }

    /// The function of a side. Its processes are started when there is something to do.
    pub(crate) fn actor(
        &self,
        side: Side,
        case: Case,
        watch: Arc<dyn Watch>,
    ) -> Result<Actor, Error> {
        self.actor_running(self.programs.of(side, case)?, side, watch)
    }

    /// The same with a program that runs the side's.
    pub(crate) fn actor_running(
        &self,
        program: PathBuf,
        side: Side,
        watch: Arc<dyn Watch>,
    ) -> Result<Actor, Error> {
        let mut environment = match side {
            Side::Floor => Vec::new(),
            Side::Custodian => self.cloud.environment(),
            _ => self.stack.environment("act"),
        };
        if side.is_quell() {
            let bundle = self.tls.bundle().display().to_string();
            environment.push(("SSL_CERT_FILE".to_owned(), bundle));
        }
        let memory = if side == Side::Custodian { MEMORY_OF_CUSTODIAN } else { MEMORY_OF_QUELL };
        let endpoint = match side {
            Side::Encrypted => {
                let caller = self.proxy.caller("")?;
                let encrypted = self.tls.before(&caller.endpoint)?;
                environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
                environment.push(("AWS_ENDPOINT_URL".to_owned(), encrypted.endpoint.clone()));
                Some((caller, encrypted))
            }
            _ => None,
        };
        let timeout = Duration::from_secs(60);
        let mut function = Function::new("function", program, environment, timeout, memory);
        if endpoint.is_none() {
            function = function.through(&self.proxy);
        }
        Ok(Actor { function: function.watched(watch), _endpoint: endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_is_small_when_it_is_zipped() {
        assert!(zipped(&[7; 1 << 20]) < 4096);
        assert!(zipped(b"") >= ZIP_FRAME);
    }
}
