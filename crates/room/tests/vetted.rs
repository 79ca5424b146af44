//! What the app said to a frame before it came to the room (SPEC 13.3, 13.8, 13.9).

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Mirror, ROOM, World, put, v1_action};
use partysync_model::ActionError;
use partysync_protocol::{ErrorCode, v2};
use partysync_room::{Admission, Effect, Event, Refusal, Vetted};
use serde_json::{Value as Json, json};

/// The frame, with what the hook before actions said to it.
fn vet(event: Event, said: Result<(), ActionError>) -> Event {
    let Event::Text { connection, text } = event else { panic!("{event:?} is no frame") };
    let prepared = said.map(|()| Some("1".into()));
    Event::Vetted { connection, text, vetted: Vetted::Action { prepared, tell: true } }
}

fn no() -> Result<(), ActionError> {
    Err(ActionError::reject("no", "The hook says no."))
}

fn item(id: &str) -> Json {
    json!({"id": id, "slug": null, "name": id})
}

fn joined() -> (World, Mirror) {
    let (mut world, mut mirror) = (World::new(), Mirror::new(1));
    mirror.join(&mut world);
    (world, mirror)
}

/// Types and error codes of what connection 1 is sent.
fn answers(world: &World) -> Vec<(String, String)> {
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    world.sent_to(1).iter().map(|frame| (text(&frame["type"]), text(&frame["error"]["code"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, code)| ((*kind).to_owned(), (*code).to_owned())).collect()
}

#[test]
fn spec_13_8_what_a_hook_rejects_is_settled_and_what_is_behind_it_runs() {
    let (mut world, mirror) = joined();
    let first = mirror.action(1, "put", item("a"));
    world.handle(vec![vet(first.clone(), no()), vet(mirror.action(2, "put", item("b")), Ok(()))]);
    assert_eq!(answers(&world), pairs(&[("reject", "rejected"), ("ack", ""), ("patch", "")]));
    assert_eq!(world.rows().len(), 1);
    // Sent again, it has its outcome, whatever the hook says now; after a restart too.
    for _ in 0..2 {
        world.handle(vec![vet(first.clone(), Ok(()))]);
        assert_eq!(world.sent_to(1)[0]["error"]["text"], "The hook says no.");
        world = world.slept();
    }
    world.handle(vec![vet(mirror.action(2, "put", item("b")), no())]);
    assert_eq!(answers(&world), pairs(&[("ack", "")]), "what was applied stays applied");
    assert_eq!((world.rows().len(), world.version()), (1, 1));
}

#[test]
fn spec_13_8_a_hook_that_has_no_time_settles_nothing() {
    let (mut world, mirror) = joined();
    let first = mirror.action(1, "put", item("a"));
    world.handle(vec![vet(first.clone(), Err(ErrorCode::Busy.into()))]);
    assert_eq!(answers(&world), pairs(&[("later", "busy")]));
    world.handle(vec![vet(first, Ok(()))]);
    assert_eq!(answers(&world), pairs(&[("ack", ""), ("patch", "")]));
}

#[test]
fn spec_13_8_version_1_gets_a_hooks_error_and_the_same_one_again() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![vet(put(1, "a"), no())]);
    let answer = world.sent_to(1);
    assert_eq!(answer[0]["error"], json!(["The hook says no."]));
    world.handle(vec![vet(put(1, "a"), Ok(()))]);
    assert_eq!(world.sent_to(1), answer);
    world.handle(vec![vet(put(1, "b"), Ok(())), vet(put(1, "b"), no())]);
    assert_eq!([0, 1].map(|i| world.sent_to(1)[i]["type"].clone()), ["success", "success"]);
    world.handle(vec![vet(put(1, "c"), Err(ErrorCode::Busy.into()))]);
    assert_eq!(world.sent_to(1)[0]["error"], json!(["The room is busy. Try again soon."]));
    world.handle(vec![vet(v1_action(1, "c", "put", item("c")), Ok(()))]);
    assert_eq!(world.sent_to(1)[0]["type"], "success");
}

#[test]
fn spec_13_9_the_home_is_told_once_of_each_action_that_made_a_version() {
    let (mut world, mirror) = joined();
    let told = |world: &World| -> Vec<(String, u64)> {
        let applied = world.effects.iter().filter_map(|effect| match effect {
            Effect::Applied(applied) => Some((applied.action.clone(), applied.version)),
            _ => None,
        });
        applied.collect()
    };
    let put = |number, id| mirror.action(number, "put", item(id));
    world.handle(vec![
        vet(put(1, "a"), Ok(())),
        vet(put(2, "b"), no()),
        vet(mirror.action(3, "nothing", Json::Null), Ok(())),
        vet(mirror.action(4, "reject", Json::Null), Ok(())),
        put(5, "c"),
        vet(put(6, "d"), Ok(())),
    ]);
    let action = |id: &str| json!({"type": "put", "payload": item(id)}).to_string();
    assert_eq!(told(&world), [(action("a"), 1), (action("d"), 3)]);
    // Nobody hears of it before it is on disk: after all that reflects it, in an order of the home's.
    assert!(matches!(world.effects.iter().rev().find(|e| !matches!(e, Effect::WakeAt(_))), Some(Effect::Applied(_))));
    world.handle(vec![vet(put(1, "a"), Ok(()))]);
    assert_eq!(told(&world), []);
}

#[test]
fn spec_13_3_a_join_that_a_door_admits_is_of_whom_the_door_says() {
    let (mut world, mut mirror) = joined();
    let join = |mirror: &Mirror, answer| Event::Vetted {
        connection: mirror.connection,
        text: v2::Up::Join { room: ROOM.into(), client: mirror.client, cursor: None, born: None, token: None }.encode(),
        vetted: Vetted::Join(answer),
    };
    world.handle(vec![mirror.action(1, "put", item("a"))]);
    mirror.client = partysync_protocol::ClientId::from_random([9; 16]);
    world.handle(vec![join(&mirror, Ok(Admission::of("ann"))), mirror.action(1, "put", item("b"))]);
    assert_eq!(answers(&world)[0].0, "joined");
    world.handle(vec![
        join(&mirror, Err(Refusal::unauthorized("Sign in again.").to_wire())),
        mirror.action(2, "put", item("c")),
    ]);
    assert_eq!(answers(&world), pairs(&[("left", "not_allowed"), ("error", "not_joined")]));
    assert_eq!(world.sent_to(1)[0]["error"]["text"], "Sign in again.");
    let authors = world.query("SELECT author FROM _log WHERE version > 0 ORDER BY version");
    assert_eq!(authors, [[Json::Null], [json!("ann")]]);
    let codes = [499, 500, 503].map(|status| Refusal::new(status, "no").to_wire().code);
    assert_eq!(codes, ["not_allowed", "app_error", "busy"]);
}

#[test]
fn spec_13_10_a_token_keeps_who_it_is_and_a_door_that_cannot_say_changes_nothing() {
    let (mut world, mirror) = joined();
    let token = |answer| Event::Vetted {
        connection: mirror.connection,
        text: v2::Up::Token { room: ROOM.into(), token: partysync_protocol::Token::new("t") }.encode(),
        vetted: Vetted::Token(answer),
    };
    world.handle(vec![token(Ok(Admission::anonymous()))]);
    assert_eq!(answers(&world), []);
    world.handle(vec![token(Err(Refusal::new(503, "Nobody can say.").to_wire()))]);
    assert_eq!(answers(&world), pairs(&[("error", "busy")]));
    world.handle(vec![token(Ok(Admission::of("ann")))]);
    assert_eq!(answers(&world), pairs(&[("left", "not_allowed")]));
    // Now it is not in the room, whatever the door says.
    for answer in [Ok(Admission::anonymous()), Err(Refusal::forbidden("no").to_wire())] {
        world.handle(vec![token(answer)]);
        assert_eq!(answers(&world), pairs(&[("error", "not_joined")]));
    }
}
