//! What clients ask for: random actions over few ids, so that they meet.

use crate::Rng;
use crate::app::{Action, Request};

/// Sizes of padded actions, in bytes. The client refuses those past the limit by itself.
const PADDED_BYTES: [usize; 3] = [1_000, 100_000, 200_000];

/// How many notes fill a room that is to be large.
const FILL_NOTES: u64 = 40;

/// A random action and the channel it goes to.
pub(crate) fn request(rng: &mut Rng, nonce: u64, is_large: bool) -> (&'static str, Request) {
    let action = match rng.below(1_000) {
        0..40 if is_large => Action::Fill(FILL_NOTES),
        0..600 => typed(rng),
        _ => raw(rng),
    };
    let channel = match action {
        // A mistake of the client's program.
        _ if rng.chance(4) => "nowhere",
        Action::Add { .. } | Action::DropCounter(_) => "counters",
        _ => "notes",
    };
    (channel, Request { nonce, action })
}

fn typed(rng: &mut Rng) -> Action {
    match rng.below(20) {
        0..4 => Action::AddNote { id: rng.chance(500).then(|| note(rng)), title: title(rng), body: body(rng) },
        4..8 => Action::EditNote { id: note(rng), body: body(rng) },
        8..11 => Action::DropNote(note(rng)),
        11..16 => Action::Add { counter: counter(rng), by: 1 + rng.below(9) as i64 },
        16 | 17 => Action::DropCounter(counter(rng)),
        18 => Action::Refuse(counter(rng)),
        _ => Action::SetAlarm { after_ms: rng.below(20_000) as i64 },
    }
}

fn raw(rng: &mut Rng) -> Action {
    match rng.below(44) {
        0..5 => Action::Replace { id: note(rng), title: title(rng) },
        5..9 => Action::Rename { from: note(rng), to: note(rng) },
        9..14 => Action::Tag { id: tag(rng), note: note(rng) },
        14..18 => Action::TagThenNote { id: tag(rng), note: note(rng), title: title(rng) },
        18..20 => Action::BlobTag { id: tag(rng), note: note(rng) },
        20..23 => Action::Mark(note(rng)),
        23 | 24 => Action::InsertOrRollback { id: note(rng), title: title(rng) },
        25 => Action::InsertAndGoOn { id: note(rng), title: title(rng) },
        26..29 => Action::AddToAll,
        29 => Action::ClearNotes,
        30 => Action::ClearCounters,
        31 | 32 => Action::Forbidden,
        33..36 => Action::Panic(counter(rng)),
        36 => Action::Spin,
        37..43 => post(rng),
        _ if rng.chance(50) => Action::Padded("x".repeat(*rng.pick(&PADDED_BYTES))),
        _ => Action::Padded(String::new()),
    }
}

fn post(rng: &mut Rng) -> Action {
    Action::Post { counter: rng.chance(500).then(|| counter(rng)), items: 1 + rng.below(3), fails: rng.chance(200) }
}

fn note(rng: &mut Rng) -> String {
    format!("n{}", rng.below(12))
}

fn tag(rng: &mut Rng) -> String {
    format!("t{}", rng.below(8))
}

fn title(rng: &mut Rng) -> String {
    format!("title {}", rng.below(16))
}

fn body(rng: &mut Rng) -> String {
    format!("body {}", rng.below(1_000))
}

fn counter(rng: &mut Rng) -> i64 {
    rng.below(5) as i64
}
