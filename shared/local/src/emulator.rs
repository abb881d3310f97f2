//! The embedded AWS: a pinned moto in a private Python environment, which is made on first use.
//!
//! `emulator/` beside this crate has what is run: the requirements, a server around moto, and what moto lacks.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::Cloud;

/// An AWS of one's own. It ends when this value is dropped, or when the process ends, however that happens.
#[derive(Debug)]
pub struct Emulator {
    /// Such as `http://127.0.0.1:5000`.
    pub endpoint: String,
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Emulator {
    /// Starts one on a free port of this machine. Blocks; the first time on a machine it takes about half a minute.
    pub fn start() -> Result<Self, EmulatorError> {
        Self::start_on("127.0.0.1", 0, &mut |_| {})
    }

    /// The same on an address that others can reach too (a container reaches neither 127.0.0.1 nor a port that it
    /// does not know), telling of every step that takes longer than two seconds.
    pub fn start_on(
        host: &str,
        port: u16,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, EmulatorError> {
        let cache = cache()?;
        let python = environment(&cache, progress)?;
        let script = scripts(&cache)?.join("serve.py");

        let mut command = Command::new(python);
        command.arg(script).args(["--host", host, "--port", &port.to_string()]);
        for (name, _) in std::env::vars_os() {
            // A person's own settings are for the real AWS.
            let theirs = name.to_string_lossy();
            if theirs.starts_with("AWS_") || theirs.starts_with("MOTO_") {
                command.env_remove(name);
            }
        }
        without_python_settings(&mut command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| EmulatorError::Files {
            doing: "run",
            path: cache.clone(),
            source,
        })?;

        let log = Arc::new(Mutex::new(VecDeque::new()));
        let keeps_log = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || keep_last_lines(stderr, &log))
        });
        let lines = child.stdout.take().map(first_line);

        match lines.and_then(|lines| await_line(&lines, progress)) {
            Some(line) => {
                let reachable = match host.parse::<IpAddr>() {
                    Ok(address) if address.is_unspecified() => "127.0.0.1",
                    _ => host,
                };
                let port = line.trim_end().rsplit(':').next().unwrap_or_default();
                Ok(Self { endpoint: format!("http://{reachable}:{port}"), child, log })
            }
            None => {
                // Its death closes its end of the pipe, and so ends the thread that keeps the log.
                let _ = child.kill();
                let _ = child.wait();
                if let Some(thread) = keeps_log {
                    let _ = thread.join();
                }
                Err(EmulatorError::Start { log: joined(&log) })
            }
        }
    }

    pub fn cloud(&self) -> Cloud {
        Cloud::at(&self.endpoint)
    }

    /// The last that the emulator had to say about itself: where a call fails inside it, the reason is here.
    pub fn log(&self) -> String {
        joined(&self.log)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why there is no embedded AWS, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    #[error(
        "python3 is needed for the embedded AWS; install it (Debian and Ubuntu: `apt install python3 python3-venv`, \
         macOS: `brew install python3`)"
    )]
    NoPython,
    #[error(
        "the embedded AWS needs Python 3.10 or newer, but `python3` is {0}; put a newer one first in PATH"
    )]
    OldPython(String),
    #[error(
        "python3 cannot make a virtual environment for the embedded AWS; install its `venv` module with pip \
         (Debian and Ubuntu: `apt install python3-venv`)\n{0}"
    )]
    NoVenv(String),
    #[error(
        "pip could not install the embedded AWS; look at the network and at pip's settings (`pip config list`)\n{0}"
    )]
    Install(String),
    #[error(
        "the embedded AWS needs a cache directory; set XDG_CACHE_HOME or HOME to one that can be written to"
    )]
    NoCache,
    #[error("could not {doing} {}: {source}", path.display())]
    Files { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the embedded AWS did not start\n{log}")]
    Start { log: String },
}

/// What is installed.
const REQUIREMENTS: &str = include_str!("../emulator/requirements.txt");

/// What is run, by path under `emulator/`.
const SCRIPTS: &[(&str, &str)] = &[
    ("serve.py", include_str!("../emulator/serve.py")),
    ("patches/__init__.py", include_str!("../emulator/patches/__init__.py")),
    ("patches/cloudtrail_trails.py", include_str!("../emulator/patches/cloudtrail_trails.py")),
    ("patches/cloudwatch_cbor.py", include_str!("../emulator/patches/cloudwatch_cbor.py")),
    (
        "patches/dynamodb_expressions.py",
        include_str!("../emulator/patches/dynamodb_expressions.py"),
    ),
    ("patches/dynamodb_writes.py", include_str!("../emulator/patches/dynamodb_writes.py")),
    ("patches/ec2_acls.py", include_str!("../emulator/patches/ec2_acls.py")),
    ("patches/ec2_flow_logs.py", include_str!("../emulator/patches/ec2_flow_logs.py")),
    ("patches/ec2_groups.py", include_str!("../emulator/patches/ec2_groups.py")),
    ("patches/ec2_metadata.py", include_str!("../emulator/patches/ec2_metadata.py")),
    ("patches/ec2_quotas.py", include_str!("../emulator/patches/ec2_quotas.py")),
    ("patches/ec2_rules.py", include_str!("../emulator/patches/ec2_rules.py")),
    ("patches/ec2_sharing.py", include_str!("../emulator/patches/ec2_sharing.py")),
    ("patches/guardduty_detectors.py", include_str!("../emulator/patches/guardduty_detectors.py")),
    (
        "patches/iam_default_versions.py",
        include_str!("../emulator/patches/iam_default_versions.py"),
    ),
    ("patches/iam_key_ages.py", include_str!("../emulator/patches/iam_key_ages.py")),
    (
        "patches/iam_managed_policies.py",
        include_str!("../emulator/patches/iam_managed_policies.py"),
    ),
    ("patches/iam_root.py", include_str!("../emulator/patches/iam_root.py")),
    ("patches/iam_user_boundaries.py", include_str!("../emulator/patches/iam_user_boundaries.py")),
    ("patches/s3_configurations.py", include_str!("../emulator/patches/s3_configurations.py")),
    ("patches/s3_object_acl.py", include_str!("../emulator/patches/s3_object_acl.py")),
    (
        "patches/securityhub_findings.py",
        include_str!("../emulator/patches/securityhub_findings.py"),
    ),
];

const LOG_LINES: usize = 200;

fn cache() -> Result<PathBuf, EmulatorError> {
    let absolute = |name| {
        std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or(EmulatorError::NoCache)?
        .join("quell");
    fs::create_dir_all(&cache).map_err(files("make", &cache))?;
    Ok(cache)
}

/// The interpreter of the private environment, which is made if it is not there. It appears in one piece: another
/// process sees all of it or nothing.
fn environment(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, EmulatorError> {
    let version = python_version()?;
    let name = format!("emulator-{}", short_hash([REQUIREMENTS, &version]));
    let finished = cache.join(&name);
    let python = finished.join("bin/python");
    if python.exists() {
        return Ok(python);
    }

    let path = cache.join(format!("{name}.lock"));
    let lock = File::create(&path).map_err(files("write", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress("waiting for another process that sets up the embedded AWS");
            lock.lock().map_err(files("lock", &path))?;
        }
        Err(TryLockError::Error(source)) => return Err(files("lock", &path)(source)),
    }
    if python.exists() {
        return Ok(python);
    }

    progress(&format!(
        "setting up the embedded AWS in {} (this once, about half a minute)",
        finished.display()
    ));
    // What is left of a process that was stopped in the middle, or of a Python that is gone.
    let unfinished = cache.join(format!("{name}.unfinished"));
    for leftover in [&unfinished, &finished] {
        match fs::remove_dir_all(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(files("remove", leftover)(error));
            }
            _ => {}
        }
    }
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&unfinished))?;
    if !made.status.success() {
        return Err(EmulatorError::NoVenv(said(&made)));
    }
    let requirements = unfinished.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(files("write", &requirements))?;
    // Compiling all of it takes longer than installing it, and little of it is ever imported.
    let installed = run(Command::new(unfinished.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--no-compile"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&requirements))?;
    if !installed.status.success() {
        return Err(EmulatorError::Install(said(&installed)));
    }
    fs::rename(&unfinished, &finished).map_err(files("rename", &unfinished))?;
    Ok(python)
}

/// Which Python it is: an environment works with the one that it was made with only.
fn python_version() -> Result<String, EmulatorError> {
    let print = "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info >= (3, 10), sys.executable)";
    let asked = run(Command::new("python3").args(["-c", print]))?;
    if !asked.status.success() {
        return Err(EmulatorError::NoPython);
    }
    let answer = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let mut words = answer.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("False")) => Err(EmulatorError::OldPython(version.to_owned())),
        (Some(_), Some(_)) => Ok(answer),
        _ => Err(EmulatorError::NoPython),
    }
}

/// Our scripts, as files.
fn scripts(cache: &Path) -> Result<PathBuf, EmulatorError> {
    let parts = SCRIPTS.iter().flat_map(|(path, text)| [*path, *text]);
    let finished = cache.join(format!("emulator-scripts-{}", short_hash(parts)));
    if finished.exists() {
        return Ok(finished);
    }
    let unfinished = tempfile::Builder::new()
        .prefix("emulator-scripts-")
        .tempdir_in(cache)
        .map_err(files("write to", cache))?;
    for (path, text) in SCRIPTS {
        let path = unfinished.path().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(files("make", folder))?;
        }
        fs::write(&path, text).map_err(files("write", &path))?;
    }
    match fs::rename(unfinished.path(), &finished) {
        // Another process was faster.
        Err(_) if finished.exists() => Ok(finished),
        Err(source) => Err(files("rename", &finished)(source)),
        Ok(()) => Ok(finished),
    }
}

fn run(command: &mut Command) -> Result<Output, EmulatorError> {
    without_python_settings(command).stdin(Stdio::null()).output().map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            return EmulatorError::NoPython;
        }
        files("run", Path::new(command.get_program()))(source)
    })
}

/// Settings that would lead a private environment to other people's modules.
fn without_python_settings(command: &mut Command) -> &mut Command {
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH").env_remove("PYTHONSTARTUP")
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    texts.concat().trim().to_owned()
}

fn files<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> EmulatorError + use<'a> {
    move |source| EmulatorError::Files { doing, path: path.to_owned(), source }
}

fn short_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Gives the line as soon as it is there, or is closed when there is none. The rest is read and dropped, so that the
/// writer never waits.
fn first_line(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        if matches!(stdout.read_line(&mut line), Ok(length) if length > 0) {
            let _ = sender.send(line);
        }
        drop(sender);
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    receiver
}

fn await_line(lines: &mpsc::Receiver<String>, progress: &mut dyn FnMut(&str)) -> Option<String> {
    match lines.recv_timeout(Duration::from_secs(2)) {
        Err(RecvTimeoutError::Timeout) => {
            progress("starting the embedded AWS");
            lines.recv_timeout(Duration::from_secs(60)).ok()
        }
        line => line.ok(),
    }
}

fn keep_last_lines(stderr: impl Read, log: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}

fn joined(log: &Mutex<VecDeque<String>>) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_script_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator");
        let mut found = BTreeSet::new();
        for under in ["", "patches"] {
            for entry in fs::read_dir(folder.join(under)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "py") {
                    found.insert(path.strip_prefix(&folder).unwrap().to_owned());
                }
            }
        }
        let embedded = SCRIPTS.iter().map(|(path, _)| PathBuf::from(path)).collect();
        assert_eq!(found, embedded);
    }

    #[test]
    fn what_python_needs_is_pinned() {
        for line in REQUIREMENTS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("=="), "{line}");
        }
        assert!(REQUIREMENTS.lines().any(|line| line == "moto==5.2.5"));
    }

    #[test]
    fn errors_say_what_to_do() {
        assert!(EmulatorError::NoPython.to_string().contains("install it"));
        assert!(EmulatorError::NoVenv(String::new()).to_string().contains("python3-venv"));
    }

    #[test]
    fn ends_with_its_parent() {
        let mut emulator = Emulator::start().unwrap();
        // What the system does when a process ends, however it ends.
        drop(emulator.child.stdin.take());
        assert!(emulator.child.wait().unwrap().success());
    }

    #[test]
    fn a_silent_program_gives_no_line() {
        assert_eq!(await_line(&first_line(io::empty()), &mut |_| {}), None);
        assert_eq!(
            await_line(&first_line(&b"listening\nmore"[..]), &mut |_| {}).as_deref(),
            Some("listening\n")
        );
    }

    #[test]
    fn the_log_is_bounded() {
        let log = Mutex::default();
        let text = (0..LOG_LINES + 5).map(|line| format!("{line}\n")).collect::<String>();
        keep_last_lines(text.as_bytes(), &log);
        assert!(joined(&log).starts_with("5\n6\n"));
    }
}
