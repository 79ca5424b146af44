//! SPEC 8.18 and 13.10: admissions that end, and tokens that renew them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use partysync_room::{Admission, Join, Refusal};
use serde_json::{Value, json};
use support::{Client, Notes, Served, operator, put, room_file, serve_with, until_closed};
use tokio::time::{Instant, timeout};

/// How long an admission of `brief` lasts, which all but a stopped machine keeps.
const BRIEF: Duration = Duration::from_millis(1_500);

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Lets in who has a token `name:how long`, for a brief time or for long.
async fn guard(join: Join) -> Result<Admission, Refusal> {
    let token = join.token.ok_or_else(|| Refusal::unauthorized("Sign in first."))?;
    let (name, how_long) = token.as_str().split_once(':').ok_or_else(|| Refusal::forbidden("You are not known."))?;
    let admission = Admission::of(name);
    if how_long == "busy" {
        return Err(Refusal::new(503, "Nobody can say."));
    }
    Ok(match how_long {
        "warned" => admission.until(now_ms() + 4_000),
        "brief" => admission.until(now_ms() + i64::try_from(BRIEF.as_millis()).unwrap()),
        "past" => admission.until(now_ms() - 1),
        _ => admission,
    })
}

async fn served(idle_ms: u64) -> Served {
    serve_with(|builder| {
        let builder = builder.idle_ms(idle_ms).party("guarded", || Notes { alarms: None });
        builder.on_before_connect("guarded", guard)
    })
    .await
}

fn token(room: &str, token: &str) -> Value {
    json!({"type": "token", "room": room, "token": token})
}

/// A client in a room, let in with a token of the URL.
async fn enter(served: &Served, token: &str) -> Client {
    let mut client = Client::connect(served.address, &format!("/parties/guarded/lobby?token={token}")).await;
    client.hello("guarded/lobby").await;
    client
}

async fn is_there(client: &mut Client) -> bool {
    client.send(json!({"type": "ping"})).await;
    client.receive().await["type"] == "pong"
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_10_an_admission_that_ends_closes_the_socket_with_a_reason_to_sign_in_again() {
    let served = served(10_000).await;
    let begin = Instant::now();
    let mut ann = enter(&served, "ann:brief").await;
    assert!(is_there(&mut ann).await);
    assert_eq!(ann.drain().await, (Vec::new(), Some(4401)));
    assert!(begin.elapsed() >= BRIEF);
    // It ends for version 1, too.
    let mut page = Client::connect(served.address, "/parties/guarded/lobby?token=bob:brief").await;
    page.send(put("a", "x")).await;
    assert_eq!(page.receive().await["type"], "success");
    assert_eq!(page.drain().await.1, Some(4401));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_10_an_admission_that_is_over_lets_nobody_in() {
    let served = serve_with(|builder| {
        let builder = builder.party("guarded", || Notes { alarms: None });
        builder.on_before_connect("guarded", guard).on_before_request("guarded", guard)
    })
    .await;
    let path = "/parties/guarded/lobby?token=ann:past";
    let program = Client::try_connect(served.address, path).await;
    assert_eq!(program.err(), Some((401, "Sign in again.".to_owned())));
    let origin = [("origin", "https://example.com")];
    let mut page = Client::try_connect_with(served.address, path, &origin).await.unwrap();
    page.send(json!({"channel": "notes", "sync": true, "from": null})).await;
    assert_eq!(page.drain().await, (Vec::new(), Some(4401)), "not a row was sent");
    assert_eq!(operator::ask(served.address, "GET", path, "", b"").await.status, 401);

    // Nor into another room, nor once more where somebody is in; what follows is nobody's.
    let mut ann = enter(&served, "ann:long").await;
    for room in ["guarded/lobby", "guarded/other"] {
        let join = json!({"type": "join", "room": room, "client": "c".repeat(32), "token": "ann:past"});
        ann.send(join).await;
        ann.send(json!({"type": "action", "room": room, "number": 1, "channel": "notes", "action": 0})).await;
        let left = ann.receive().await;
        assert_eq!((&left["type"], &left["error"]["reason"]), (&json!("left"), &json!("4401")), "{left}");
        assert_eq!(ann.receive().await["error"]["code"], "not_joined");
    }
    let mut bob = enter(&served, "bob:long").await;
    bob.send(token("guarded/lobby", "bob:past")).await;
    assert_eq!(bob.receive().await["error"]["reason"], "4401");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_18_a_new_token_renews_the_admission() {
    let served = served(10_000).await;
    let mut ann = enter(&served, "ann:brief").await;
    ann.send(token("guarded/lobby", "ann:long")).await;
    assert!(is_there(&mut ann).await, "nothing answers it");
    assert!(timeout(BRIEF * 2, ann.receive_message()).await.is_err(), "she stays");
    // And one that ends sooner counts as well.
    ann.send(token("guarded/lobby", "ann:brief")).await;
    assert_eq!(ann.drain().await, (Vec::new(), Some(4401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_18_a_token_that_is_refused_or_somebody_elses_ends_the_room_for_the_client() {
    let served = served(10_000).await;
    let mut ann = enter(&served, "ann:long").await;
    ann.send(token("guarded/lobby", "ann:busy")).await;
    let error = ann.receive().await;
    assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("busy")), "{error}");
    for (bad, text) in [("nobody", "You are not known."), ("bob:long", "You may not enter this room.")] {
        ann.send(token("guarded/lobby", bad)).await;
        let left = ann.receive().await;
        assert_eq!((&left["type"], &left["error"]["code"]), (&json!("left"), &json!("not_allowed")), "{left}");
        assert_eq!(left["error"]["text"], text);
        // A door's no says which; that it is somebody else is no door's.
        assert_eq!(left["error"]["reason"], if bad == "nobody" { json!("4403") } else { Value::Null });
        ann.send(token("guarded/lobby", "ann:long")).await;
        assert_eq!(ann.receive().await["error"]["code"], "not_joined");
        let join = json!({"type": "join", "room": "guarded/lobby", "client": "c".repeat(32), "token": "ann:long"});
        ann.send(join).await;
        assert_eq!(ann.receive().await["type"], "joined");
        assert_eq!(ann.receive().await["type"], "snapshot");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_18_where_there_is_no_door_a_token_means_nothing() {
    let served = served(10_000).await;
    let mut ann = Client::connect(served.address, "/parties/notes/lobby").await;
    ann.hello("notes/lobby").await;
    ann.send(token("notes/lobby", "whatever")).await;
    assert!(is_there(&mut ann).await);
    ann.send(token("notes/other", "whatever")).await;
    assert_eq!(ann.receive().await["error"]["code"], "not_joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_10_p12_an_admission_ends_while_the_room_is_asleep_and_is_renewed_then() {
    let served = served(1).await;
    let mut ann = enter(&served, "ann:brief").await;
    let mut bob = enter(&served, "bob:brief").await;
    let file = room_file(served.data.path());
    until_closed(&file).await;
    ann.send(token("guarded/lobby", "ann:long")).await;
    assert!(is_there(&mut ann).await);
    until_closed(&file).await;
    assert_eq!(bob.drain().await.1, Some(4401));
    assert!(is_there(&mut ann).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_10_spec_8_34_of_several_rooms_only_that_ends_whose_admission_does() {
    let served = served(10_000).await;
    let mut ann = Client::connect(served.address, "/parties/notes/lobby").await;
    ann.hello("notes/lobby").await;
    for (room, token) in [("guarded/a", "ann:brief"), ("guarded/b", "ann:brief"), ("guarded/c", "ann:long")] {
        let join = json!({"type": "join", "room": room, "client": "c".repeat(32), "token": token});
        ann.send(join).await;
        assert_eq!(ann.receive().await["type"], "joined");
        assert_eq!(ann.receive().await["type"], "snapshot");
    }
    let over = json!({"type": "join", "room": "guarded/d", "client": "c".repeat(32), "token": "ann:past"});
    ann.send(over).await;
    let left = ann.receive().await;
    assert_eq!((&left["type"], &left["room"]), (&json!("left"), &json!("guarded/d")), "{left}");
    ann.send(token("guarded/b", "ann:long")).await;
    let left = ann.receive().await;
    assert_eq!((&left["type"], &left["room"]), (&json!("left"), &json!("guarded/a")), "{left}");
    assert_eq!((&left["error"]["code"], &left["error"]["text"]), (&json!("not_allowed"), &json!("Sign in again.")));
    assert_eq!(left["error"]["reason"], "4401");
    assert!(timeout(BRIEF, ann.receive_message()).await.is_err(), "the others stay");
    for room in ["guarded/b", "guarded/c"] {
        ann.send(json!({"type": "message", "room": room, "text": "x"})).await;
        assert_eq!(
            ann.receive().await["error"]["code"],
            "bad_message",
            "she is in {room}, whose app takes no messages"
        );
    }
    let again = json!({"type": "join", "room": "guarded/a", "client": "c".repeat(32), "token": "ann:long"});
    ann.send(again).await;
    assert_eq!(ann.receive().await["type"], "joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_37_a_client_is_told_before_its_admission_ends_and_again_after_it_was_renewed() {
    let served = served(10_000).await;
    let begin = Instant::now();
    let mut ann = enter(&served, "ann:warned").await;
    for _ in 0..2 {
        let told = ann.receive().await;
        assert_eq!((&told["type"], &told["room"]), (&json!("expires"), &json!("guarded/lobby")), "{told}");
        let after_ms = told["after_ms"].as_u64().unwrap();
        assert!((1_000..=2_000).contains(&after_ms), "{told}");
        ann.send(token("guarded/lobby", "ann:warned")).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(3_000), "not before half of the time is over");
    ann.send(token("guarded/lobby", "ann:brief")).await;
    assert_eq!(ann.drain().await, (Vec::new(), Some(4401)), "in the last second it is too late to tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_37_spec_8_32_each_room_of_a_socket_is_told_of_alone_and_version_1_of_none() {
    let served = served(10_000).await;
    let mut page = Client::connect(served.address, "/parties/guarded/lobby?token=bob:warned").await;
    page.send(put("a", "x")).await;
    assert_eq!(page.receive().await["type"], "success");
    page.send(put("b", "y")).await;
    assert_eq!(page.receive().await["type"], "success");
    let mut ann = Client::connect(served.address, "/parties/notes/lobby").await;
    ann.hello("notes/lobby").await;
    for (room, token) in [("guarded/a", "ann:warned"), ("guarded/b", "ann:long")] {
        ann.send(json!({"type": "join", "room": room, "client": "c".repeat(32), "token": token})).await;
        assert_eq!(ann.receive().await["type"], "joined");
        assert_eq!(ann.receive().await["type"], "snapshot");
    }
    let told = ann.receive().await;
    assert_eq!((&told["type"], &told["room"]), (&json!("expires"), &json!("guarded/a")), "{told}");
    let left = ann.receive().await;
    assert_eq!((&left["type"], &left["room"]), (&json!("left"), &json!("guarded/a")), "{left}");
    assert_eq!(page.drain().await, (Vec::new(), Some(4401)));
}
