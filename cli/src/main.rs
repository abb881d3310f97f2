//! The `quell` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod approve;
mod binaries;
mod controls;
mod demo;
mod emulate;
mod exempt;
mod halt;
mod incident;
mod invoke;
mod operator;
mod place;
mod policy;
mod records;
mod report;
mod scan;
mod show;
mod terminal;
mod undo;

/// Puts dangerous changes in AWS accounts right, seconds after they are made.
///
/// Where it works: `demo`, and `invoke` without AWS_ENDPOINT_URL, bring an AWS of their own that vanishes with them.
/// With AWS_ENDPOINT_URL set, everything goes to that endpoint; else everything but these goes to your AWS account, with
/// the credentials of your environment.
#[derive(Parser)]
#[command(name = "quell", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows every remediation at work on an embedded AWS
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Delivers an event to a function
    #[command(after_help = invoke::EXAMPLES)]
    Invoke(invoke::Invoke),
    /// Has a plan made that waits for a person
    #[command(after_help = approve::APPROVE_EXAMPLES)]
    Approve(approve::Approve),
    /// Ends a plan that waits for a person: nothing is changed
    #[command(after_help = approve::DENY_EXAMPLES)]
    Deny(approve::Deny),
    /// Takes back what a record did, if nobody changed the resource since
    #[command(after_help = undo::EXAMPLES)]
    Undo(undo::Undo),
    /// Takes up again what was parked
    #[command(after_help = approve::RESUME_EXAMPLES)]
    Resume(approve::Resume),
    /// Lets one resource violate one control for a time
    #[command(after_help = exempt::EXAMPLES)]
    Exempt(exempt::Exempt),
    /// Stops every change at once
    #[command(after_help = halt::HALT_EXAMPLES)]
    Halt(halt::Halt),
    /// Ends a halt
    #[command(after_help = halt::CONTINUE_EXAMPLES)]
    Continue(halt::Continue),
    /// Lists what was observed, fixed, failed and undone, newest first
    #[command(after_help = records::EXAMPLES)]
    Records(records::Records),
    /// Shows one record in full: what was wrong, what happened when, every call, the way back
    #[command(after_help = show::EXAMPLES)]
    Show(show::Show),
    /// Shows what else the same actor did: what was found of an attack, in its order
    #[command(after_help = incident::EXAMPLES)]
    Incident(incident::Incident),
    /// Looks at everything there is: what is wrong, and what would be done about it. Changes nothing, needs no stack
    #[command(after_help = scan::EXAMPLES)]
    Scan(scan::Scan),
    /// Makes a report of what was found and fixed, how fast, who caused it, and what needs a person
    #[command(after_help = report::EXAMPLES)]
    Report(report::Report),
    /// Checks, compares, publishes and shows the policy: how far each control goes
    #[command(after_help = policy::EXAMPLES)]
    Policy(policy::Policy),
    /// Shows every control there is
    #[command(after_help = controls::EXAMPLES)]
    Controls(controls::Controls),
    /// Runs the embedded AWS until it is stopped, for `sam local invoke` and for playing
    #[command(after_help = emulate::EXAMPLES)]
    Emulate(emulate::Emulate),
}

/// What a command can end with beside success (0); clap ends with 2 where the arguments are wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Not everything is as it should be: exit code 1.
    #[error("{0}")]
    NotDone(String),
    /// The command could not do its work: exit code 3.
    #[error("{0}")]
    Trouble(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    fn trouble(reason: impl Into<String>) -> Self {
        Self::Trouble(reason.into().into())
    }
}

/// For tests of how work grows.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = match Arguments::parse().verb {
        Verb::Demo(demo) => demo.run().await,
        Verb::Invoke(invoke) => invoke.run().await,
        Verb::Approve(approve) => approve.run().await,
        Verb::Deny(deny) => deny.run().await,
        Verb::Undo(undo) => undo.run().await,
        Verb::Resume(resume) => resume.run().await,
        Verb::Exempt(exempt) => exempt.run().await,
        Verb::Halt(halt) => halt.run().await,
        Verb::Continue(resume) => resume.run().await,
        Verb::Records(records) => records.run().await,
        Verb::Show(show) => show.run().await,
        Verb::Incident(incident) => incident.run().await,
        Verb::Scan(scan) => scan.run().await,
        Verb::Report(report) => report.run().await,
        Verb::Policy(policy) => policy.run().await,
        Verb::Controls(controls) => controls.run(),
        Verb::Emulate(emulate) => emulate.run().await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&error.to_string());
            ExitCode::from(match error {
                Error::NotDone(_) => 1,
                Error::Trouble(_) => 3,
            })
        }
    }
}
