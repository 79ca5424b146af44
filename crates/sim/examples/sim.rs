//! Plays many worlds: `cargo run --release -p partysync-sim --example sim -- --seeds 10000 --minutes 5`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use partysync_sim::{Setup, Stats, run};

#[derive(Parser)]
struct Args {
    /// Worlds to play at most.
    #[arg(long, default_value_t = u64::MAX)]
    seeds: u64,
    /// Minutes to play at most.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// What happens in a world before it comes to rest.
    #[arg(long, default_value_t = Setup::default().steps)]
    steps: usize,
    /// How wrong the room's clock may be, in days.
    #[arg(long, default_value_t = Setup::default().skew_days)]
    skew_days: i64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let setup = Setup { steps: args.steps, skew_days: args.skew_days, ..Setup::default() };
    let (begin, limit) = (Instant::now(), Duration::from_secs_f64(args.minutes * 60.0));
    let (mut played, mut found, mut all) = (0_u64, 0_u64, Stats::default());
    for seed in args.from..args.from.saturating_add(args.seeds) {
        if begin.elapsed() > limit {
            break;
        }
        played += 1;
        match run(seed, &setup) {
            Ok(stats) => all += stats,
            Err(violation) => {
                found += 1;
                println!("SIM_SEED={seed}: {violation}");
            }
        }
    }
    let per_second = played as f64 / begin.elapsed().as_secs_f64();
    println!("{played} worlds, {per_second:.1} a second, {found} with a broken promise\n{all:#?}");
    if found > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
