//! Worlds from fixed seeds. `SIM_SEED=… cargo test -p partysync-sim` replays one.
// What tests share may panic too.
#![allow(clippy::panic)]

use partysync_sim::{Promise, Setup, Stats, Tamper, run};

/// How many worlds a test run plays.
const SEEDS: u64 = 60;

/// Runs a world; a failure names the seed that shows it again.
fn play(seed: u64, setup: &Setup) -> Stats {
    match run(seed, setup) {
        Ok(stats) => stats,
        Err(violation) => panic!("SIM_SEED={seed}: {violation}"),
    }
}

#[test]
fn p1_to_p10_hold_in_every_world() {
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

/// These found something, too.
#[test]
fn p9_holds_in_worlds_that_once_broke_it() {
    for seed in [77, 91, 109, 128, 144, 166] {
        play(seed, &Setup::default());
    }
    // The app put a socket out of the room of its URL as it left, and it had joined again.
    play(400470, &Setup { skew_days: 400, ..Setup::default() });
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
    // Who should have had the last one is never even.
    caught(Tamper::DropPatches, &[Promise::P2, Promise::P1], 5);
}

#[test]
fn p2_a_snapshot_without_the_patch_that_leads_on_from_it_is_caught() {
    caught(Tamper::DropSnapshotPatch, &[Promise::P2], 40);
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
    // A room that lost all begins anew, with other stamps.
    caught(Tamper::LieAboutSyncs, &[Promise::P3, Promise::P2], 10);
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

#[test]
fn p4_a_rejection_that_is_not_stored_is_caught() {
    caught(Tamper::ForgetRejections, &[Promise::P4, Promise::P5], 20);
}

#[test]
fn p4_an_item_that_is_not_stored_is_caught() {
    caught(Tamper::LoseItems, &[Promise::P4, Promise::P2], 20);
}

#[test]
fn p4_an_item_under_another_key_is_caught() {
    caught(Tamper::NewKeys, &[Promise::P4], 20);
}

#[test]
fn p7_a_reset_without_reason_is_caught() {
    caught(Tamper::ResetAlways, &[Promise::P7], 20);
}

#[test]
fn p7_a_resume_that_costs_more_than_what_changed_is_caught() {
    caught(Tamper::ResumeFromStart, &[Promise::P7], 20);
}

#[test]
fn p7_histories_that_cannot_be_told_apart_are_caught() {
    // A client that holds what was lost may be seen first to hold the wrong rows.
    caught(Tamper::SameStamps, &[Promise::P7, Promise::P1, Promise::P2], 60);
}

#[test]
fn p7_a_pending_action_that_goes_with_a_reset_is_caught() {
    caught(Tamper::LosePending, &[Promise::P7], 60);
}

#[test]
fn p8_an_ack_that_is_not_sent_is_caught() {
    caught(Tamper::DropAcks, &[Promise::P8], 20);
}

#[test]
fn p8_a_slow_reader_that_is_left_behind_is_caught() {
    // It is never even.
    caught(Tamper::NoCatchUp, &[Promise::P8, Promise::P1], 60);
}

#[test]
fn p8_a_backlog_without_a_bound_is_caught() {
    caught(Tamper::NoBound, &[Promise::P8], 60);
}

#[test]
fn p8_an_outcome_that_is_kept_for_nobody_is_caught() {
    caught(Tamper::FreeNothing, &[Promise::P8], 60);
}

#[test]
fn p9_a_frame_of_another_room_is_caught() {
    caught(Tamper::OtherRooms, &[Promise::P9], 20);
}

#[test]
fn p9_a_frame_of_a_room_that_was_left_is_caught() {
    caught(Tamper::SendToLeft, &[Promise::P9], 20);
}

#[test]
fn p9_a_socket_that_is_closed_for_one_of_its_rooms_is_caught() {
    caught(Tamper::CloseForLeft, &[Promise::P9], 40);
}

#[test]
fn p9_a_room_that_ends_on_a_socket_without_a_word_is_caught() {
    caught(Tamper::EndSilently, &[Promise::P9], 40);
}

#[test]
fn p9_a_refusal_that_ends_other_rooms_too_is_caught() {
    caught(Tamper::RefuseAll, &[Promise::P9], 40);
}

#[test]
fn p9_an_admission_that_does_not_end_is_caught() {
    caught(Tamper::NeverEnd, &[Promise::P9], 20);
}

#[test]
fn p9_an_admission_that_ends_without_a_notice_is_caught() {
    caught(Tamper::NoNotice, &[Promise::P9], 40);
}

#[test]
fn p9_an_admission_that_ends_although_it_was_renewed_is_caught() {
    caught(Tamper::ForgetRenewals, &[Promise::P9], 40);
}

#[test]
fn p10_a_page_that_is_not_told_what_it_missed_is_caught() {
    caught(Tamper::NoVolunteer, &[Promise::P10, Promise::P1], 60);
}

#[test]
fn p10_what_was_sent_is_not_what_arrived() {
    caught(Tamper::BelieveSent, &[Promise::P10], 400);
}

#[test]
fn p10_an_update_without_its_deleted_rows_is_caught() {
    caught(Tamper::DropTombstones, &[Promise::P10], 40);
}

#[test]
fn p10_a_call_that_is_not_answered_is_caught() {
    caught(Tamper::DropAnswers, &[Promise::P10], 20);
}

#[test]
fn p10_a_call_that_failed_and_is_acked_is_caught() {
    caught(Tamper::AckFailed, &[Promise::P10], 20);
}

#[test]
fn p4_a_call_that_is_not_stored_is_caught() {
    // The second run may fail, or be of a row that is there already.
    caught(Tamper::ForgetCalls, &[Promise::P4, Promise::P5], 60);
}

/// What is checked has to happen.
#[test]
fn worlds_have_all_that_is_checked() {
    let mut all = Stats::default();
    (0..SEEDS).for_each(|seed| all += play(seed, &Setup { skew_days: 400, ..Setup::default() }));
    let often = [
        all.v1,
        all.volunteered,
        all.called_again,
        all.shared,
        all.door,
        all.tokens,
        all.noticed,
        all.expired,
        all.ended,
        all.left,
        all.restored,
        all.left_out,
        all.caught_up,
        all.delivered,
        all.repeated,
    ];
    let seldom = [
        all.older,
        all.wiped,
        all.rolled_back,
        all.forgotten,
        all.unknown,
        all.gaps,
        all.below_floor,
        all.other_history,
    ];
    assert!(often.into_iter().chain(seldom).all(|count| count > 0), "{all:#?}");
}
