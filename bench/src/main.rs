//! The benchmark: Quell's functions against Cloud Custodian's, and against the least that a function costs. The same
//! embedded AWS, the same events, the same look at what became of them. `bench/run` builds, installs and runs it all.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};

mod case;
mod chart;
mod cost;
mod error;
mod goals;
mod instructions;
mod probe;
mod recorded;
mod report;
mod results;
mod scale;
mod scene;
mod stats;
mod tls;
mod trial;
mod trips;

use case::Case;
use cost::{Prices, Standing};
use error::Error;
use recorded::Recorded;
use results::{CaseResult, Cost, CostRow, Machine, Measured, Results};
use scene::{Programs, Scene, Side};
use trial::Trial;

/// Measures Quell's functions beside Cloud Custodian's and beside a function that does nothing
#[derive(Parser)]
struct Bench {
    /// The folder of Quell's functions and of `floor`
    #[arg(long, value_name = "FOLDER")]
    functions: PathBuf,
    /// The folder that `custodian/package.py` made; without it Quell is measured alone
    #[arg(long, value_name = "FOLDER")]
    custodian: Option<PathBuf>,
    /// The folder of the benchmark, with its prices, its results and what was recorded
    #[arg(long, value_name = "FOLDER", default_value = "bench")]
    home: PathBuf,
    /// Few events; nothing is written, and counts are compared with what was recorded
    #[arg(long)]
    short: bool,
    /// Keep this run's counts and ratios, for short runs to compare with
    #[arg(long, conflicts_with = "short")]
    record: bool,
    /// Which cases: acl, imds, ssh
    #[arg(long, value_name = "CASE,…", value_delimiter = ',')]
    cases: Vec<String>,
    /// What is measured
    #[arg(
        long,
        value_name = "PART,…",
        value_delimiter = ',',
        default_value = "time,trips,instructions,storm,growth"
    )]
    parts: Vec<Part>,
    /// Fresh processes of each side and case
    #[arg(long, value_name = "COUNT")]
    processes: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Start, first event, warm events, memory, calls
    Time,
    /// How latency grows with the time that calls take
    Trips,
    /// Instructions, where valgrind is
    Instructions,
    /// Many events at once
    Storm,
    /// Accounts of different sizes
    Growth,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Bench::parse().run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::from(3)
        }
    }
}

/// Added to every call, to see how latency grows: in milliseconds.
const DELAYS: [u64; 4] = [0, 20, 40, 80];

impl Bench {
    /// Whether everything is as it was recorded.
    async fn run(self) -> Result<bool, Error> {
        probe::can_read().map_err(Error::Clock)?;
        let prices = Prices::read(&self.home.join("prices.toml"))?;
        let cases = match self.cases.as_slice() {
            [] => Case::ALL.to_vec(),
            names => names.iter().map(|name| Case::named(name)).collect::<Result<_, _>>()?,
        };
        let programs =
            Programs { functions: self.functions.clone(), custodian: self.custodian.clone() };
        let processes = self.processes.unwrap_or(if self.short { 2 } else { 10 }).max(1);
        let warm = if self.short { 5 } else { 10 };

        let mut results = Results {
            machine: machine(&programs),
            processes,
            warm_events: warm,
            cases: Vec::new(),
            floor: None,
            storm: None,
            growth: Vec::new(),
            cost: None,
        };
        self.time(&mut results, &programs, &cases).await?;
        if self.wants(Part::Trips) {
            self.trips(&mut results, &programs, &cases).await?;
        }
        if self.wants(Part::Instructions) && instructions::can_count() {
            count_instructions(&mut results, &programs, &cases).await?;
        }
        if self.wants(Part::Storm) {
            let events = if self.short { 300 } else { 10_000 };
            say(&format!("{events} events"));
            results.storm = Some(scale::storm(&programs, &cases, events, 8).await?);
        }
        if self.wants(Part::Growth) {
            say("accounts of different sizes");
            let sizes: &[usize] = if self.short { &[10, 200] } else { &[10, 1_000, 10_000] };
            results.growth = scale::growth(&programs, &cases, sizes, warm.max(10)).await?;
        }
        results.cost = Some(self.cost(&results, &prices)?);
        self.tell(&results)
    }

    fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn sides(&self) -> Vec<Side> {
        let mut sides = vec![Side::Quell, Side::Floor, Side::Encrypted];
        if self.custodian.is_some() {
            sides.insert(1, Side::Custodian);
        }
        sides
    }

    /// One process of each side and case after the other, again and again: what disturbs the machine for a while
    /// disturbs all of them.
    async fn time(
        &self,
        results: &mut Results,
        programs: &Programs,
        cases: &[Case],
    ) -> Result<(), Error> {
        let sides = self.sides();
        let (rounds, warm) = match self.wants(Part::Time) {
            true => (results.processes, results.warm_events),
            // Calls and sizes are of use in every run.
            false => (1, 1),
        };
        let mut trials: BTreeMap<(usize, usize), Vec<Trial>> = BTreeMap::new();
        // The first round only makes the machine warm: programs are read from the disk, Python compiles.
        for round in 0..=rounds {
            say(&format!("round {round} of {rounds}"));
            let scene = Scene::begin(programs).await?;
            for (c, case) in cases.iter().enumerate() {
                for turn in 0..sides.len() {
                    let s = (turn + round) % sides.len();
                    let name = format!("s{s}");
                    let warm = if round == 0 { 1 } else { warm };
                    let trial = trial::run(&scene, sides[s], *case, &name, warm).await?;
                    if round > 0 {
                        trials.entry((c, s)).or_default().push(trial);
                    }
                }
            }
        }
        let measured = |c: usize, side: Side| {
            let Some(s) = sides.iter().position(|one| *one == side) else { return Ok(None) };
            let of_side = trials.get(&(c, s)).map_or(&[][..], Vec::as_slice);
            Measured::of(programs, side, cases[c], of_side)
        };
        for (c, case) in cases.iter().enumerate() {
            results.cases.push(CaseResult {
                case: case.name().to_owned(),
                quell: measured(c, Side::Quell)?.unwrap_or_default(),
                encrypted: measured(c, Side::Encrypted)?,
                custodian: measured(c, Side::Custodian)?,
            });
        }
        if let Some(floor) = sides.iter().position(|side| *side == Side::Floor)
            && let Some(case) = cases.first()
        {
            let all: Vec<Trial> = trials
                .into_iter()
                .filter(|((_, side), _)| *side == floor)
                .flat_map(|(_, trials)| trials)
                .collect();
            results.floor = Measured::of(programs, Side::Floor, *case, &all)?;
        }
        Ok(())
    }

    async fn trips(
        &self,
        results: &mut Results,
        programs: &Programs,
        cases: &[Case],
    ) -> Result<(), Error> {
        let repeats = if self.short { 1 } else { 5 };
        say("round trips");
        let scene = Scene::begin(programs).await?;
        for (case, result) in cases.iter().zip(&mut results.cases) {
            let delayed =
                async |side, repeats| trial::delayed(&scene, side, *case, &DELAYS, repeats).await;
            result.quell.trips = Some(delayed(Side::Quell, repeats).await?);
            if let Some(peer) = &mut result.custodian {
                peer.trips = Some(delayed(Side::Custodian, repeats).await?);
            }
        }
        Ok(())
    }

    fn cost(&self, results: &Results, prices: &Prices) -> Result<Cost, Error> {
        let template = self.home.join("../template.yaml");
        let text = fs::read_to_string(&template).map_err(Error::file(&template))?;
        let own = Standing::of(&text);
        let mut rows = Vec::new();
        for result in &results.cases {
            for (side, measured, standing) in [
                (Side::Quell, Some(&result.quell), own),
                (Side::Custodian, result.custodian.as_ref(), Standing::default()),
            ] {
                let Some(measured) = measured else { continue };
                let [fix, compliant] = measured.usage(side);
                rows.push(CostRow {
                    case: result.case.clone(),
                    side: side.name().to_owned(),
                    million_fixes: prices.million(&fix),
                    million_compliant: prices.million(&compliant),
                    thousand_accounts: prices.month(1000.0, &fix, &compliant, &standing),
                });
            }
        }
        Ok(Cost {
            region: prices.region.clone(),
            date: prices.date.clone(),
            assumed: prices.assumed,
            standing: own,
            rows,
        })
    }

    /// Writes or prints what was found, and compares it with what was recorded.
    fn tell(&self, results: &Results) -> Result<bool, Error> {
        let goals = goals::all(results);
        let page = report::markdown(results, &goals);
        let now = Recorded::of(results);
        let path = self.home.join("recorded.json");
        if self.short {
            line(&page);
        } else {
            let folder = self.home.join("results");
            fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
            let mut with_goals = serde_json::to_value(results).unwrap_or_default();
            with_goals["goals"] = serde_json::to_value(&goals).unwrap_or_default();
            write(&folder.join("latest.json"), &pretty(&with_goals))?;
            write(&folder.join("latest.md"), &page)?;
            if let Some(svg) = chart::svg(results) {
                write(&self.home.join("../docs/benchmark.svg"), &svg)?;
            }
            line(&page);
        }
        if self.record {
            write(&path, &pretty(&now))?;
            return Ok(true);
        }
        if !path.exists() {
            say("nothing was recorded yet: `bench/run --record` does");
            return Ok(true);
        }
        let (lines, failed) = Recorded::read(&path)?.compare(&now);
        line("## Compared with what was recorded\n");
        lines.iter().for_each(|one| line(&format!("- {one}")));
        failed.iter().for_each(|one| line(&format!("- **too much**: {one}")));
        Ok(failed.is_empty())
    }
}

async fn count_instructions(
    results: &mut Results,
    programs: &Programs,
    cases: &[Case],
) -> Result<(), Error> {
    say("instructions");
    let scene = Scene::begin(programs).await?;
    for (case, result) in cases.iter().zip(&mut results.cases) {
        result.quell.instructions = Some(instructions::count(&scene, Side::Quell, *case).await?);
    }
    if let (Some(floor), Some(case)) = (&mut results.floor, cases.first()) {
        floor.instructions = Some(instructions::count(&scene, Side::Floor, *case).await?);
    }
    Ok(())
}

fn machine(programs: &Programs) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = processor.map(|name| name.trim_start_matches([' ', '\t', ':']).to_owned());
    let release = read("/proc/sys/kernel/osrelease");
    let versions = programs.custodian.as_ref().map(|folder| folder.join("versions.json"));
    let versions = versions.and_then(|path| fs::read_to_string(path).ok());
    Machine {
        date: jiff::Zoned::now().date().to_string(),
        processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        system: format!("{} {}", std::env::consts::OS, release.trim()),
        versions: versions.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
    }
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file(path))
}

fn line(text: &str) {
    // Nobody reads on: a closed pipe is no reason to fail.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
