//! `quell controls`

use clap::Args;
use quell_controls::REGISTRY;
use quell_engine::{Meta, Safety};
use serde_json::{Value, json};

use crate::{Error, terminal};

pub(crate) const EXAMPLES: &str =
    "Examples:\n  quell controls\n  quell controls --json | jq -r '.[].control'";

#[derive(Args)]
pub(crate) struct Controls {
    /// An array with one object for each control
    #[arg(long)]
    json: bool,
}

impl Controls {
    pub(crate) fn run(self) -> Result<(), Error> {
        if self.json {
            return terminal::json(
                &REGISTRY.iter().map(|meta| described(meta)).collect::<Vec<_>>(),
            );
        }
        let rows: Vec<Vec<String>> = REGISTRY
            .iter()
            .map(|meta| {
                vec![
                    meta.id.to_owned(),
                    meta.title.to_owned(),
                    format!("{:?}", meta.severity).to_lowercase(),
                    fixed_at_once(meta.safety).to_owned(),
                    meta.function.to_owned(),
                ]
            })
            .collect();
        terminal::table(
            &["CONTROL", "AFTER THE FIX", "SEVERITY", "FIXED AT ONCE WHEN ENFORCED", "FUNCTION"],
            &rows,
        );
        Ok(())
    }
}

fn described(meta: &Meta) -> Value {
    json!({
        "control": meta.id,
        "title": meta.title,
        "risk": meta.risk,
        "severity": meta.severity,
        "safety": meta.safety,
        "function": meta.function,
        "satisfies": meta.satisfies,
        "discovers": meta.discovers,
        "reads": meta.reads,
        "writes": meta.writes,
    })
}

fn fixed_at_once(safety: Safety) -> &'static str {
    match safety {
        Safety::Safe => "yes",
        Safety::NeedsApproval => "if enforced by its name",
        Safety::ReportOnly => "never",
    }
}
