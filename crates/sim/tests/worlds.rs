//! Worlds from fixed seeds. `SIM_SEED=… cargo test -p partysync-sim` replays one.
// What tests share may panic too.
#![allow(clippy::panic)]

use partysync_sim::{Promise, Setup, Stats, Tamper, run};

/// How many worlds a test run plays.
const SEEDS: u64 = 120;

/// Runs a world; a failure names the seed that shows it again.
fn play(seed: u64, setup: &Setup) -> Stats {
    match run(seed, setup) {
        Ok(stats) => stats,
        Err(violation) => panic!("SIM_SEED={seed}: {violation}"),
    }
}

#[test]
fn p1_to_p6_hold_in_every_world() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{:#?}", play(seed, &Setup::default()));
        return;
    }
    for seed in 0..SEEDS {
        play(seed, &Setup::default());
    }
}

/// These found something. What it was is in `found.rs`.
#[test]
fn p4_holds_in_worlds_that_once_broke_it() {
    for seed in [2, 5, 32, 61, 102, 113, 1581, 3012] {
        play(seed, &Setup { skew_days: 400, ..Setup::default() });
    }
}

#[test]
fn p4_holds_when_the_room_drops_clients() {
    for seed in 0..SEEDS {
        play(seed, &Setup { skew_days: 400, ..Setup::default() });
    }
}

#[test]
fn a_seed_plays_the_same_world_again() {
    for seed in 0..3 {
        assert_eq!(play(seed, &Setup::default()), play(seed, &Setup::default()), "seed {seed}");
    }
}

/// A broken room is caught, and for the right reason.
fn caught(tamper: Tamper, promises: &[Promise], within: u64) {
    let setup = Setup { tamper, ..Setup::default() };
    let violation = (0..within).find_map(|seed| run(seed, &setup).err());
    let violation = violation.unwrap_or_else(|| panic!("{tamper:?} was not caught in {within} worlds"));
    assert!(promises.contains(&violation.promise), "{tamper:?} was caught as {violation}");
}

#[test]
fn p1_a_patch_without_its_deletes_is_caught() {
    caught(Tamper::DropDeletes, &[Promise::P1], 5);
}

#[test]
fn p2_a_patch_that_is_not_sent_is_caught() {
    caught(Tamper::DropPatches, &[Promise::P2], 5);
}

#[test]
fn p2_a_stamp_that_changes_is_caught() {
    caught(Tamper::ChangeStamps, &[Promise::P2], 5);
}

#[test]
fn p2_a_version_that_is_skipped_is_caught() {
    caught(Tamper::SkipVersions, &[Promise::P2], 5);
}

#[test]
fn p3_what_leaves_before_it_is_synced_is_caught() {
    caught(Tamper::LieAboutSyncs, &[Promise::P3], 10);
}

#[test]
fn p4_a_number_that_is_not_stored_is_caught() {
    // What was applied is run again, and rejected then: that looks like a rejected action that stayed.
    caught(Tamper::ForgetNumbers, &[Promise::P4, Promise::P5], 5);
}

#[test]
fn p5_a_failed_step_that_stays_is_caught() {
    // What stays may be seen as rows that nobody asked for, or as a version that no step made.
    caught(Tamper::KeepFailedSteps, &[Promise::P5, Promise::P2], 5);
}
