//! What is counted.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::json;
use support::operator::{Answer, Operator};
use support::{Client, PATIENCE, act, put, serve, serve_with};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_and_no_room_is_named() {
    let served = serve().await;
    let operator = Operator::of(&served.server).await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    assert_eq!(bob.receive().await["broadcast"], true);
    ann.send(put("a", "again")).await;
    assert_eq!(ann.receive().await["type"], "error");
    ann.send(act("alarm", json!({"type": "alarm", "payload": 0}))).await;
    assert_eq!(ann.receive().await["type"], "success");
    assert_eq!(bob.receive().await["payload"][0][1], "rang");

    // A batch is counted when its frames are sent. Two syncs, three answers, an update to the other; the alarm's to both.
    let counted = async {
        loop {
            let answer = operator.get("/metrics").await;
            if answer.metric("partysync_frames_sent_total") >= 8.0 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, counted).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(!answer.text().contains("lobby"));
    for (name, value) in [
        ("partysync_connections", 2.0),
        ("partysync_connections_opened_total", 2.0),
        ("partysync_rooms_open", 1.0),
        ("partysync_rooms_in_use", 1.0),
        ("partysync_rooms_opened_total", 1.0),
        ("partysync_frames_received_total", 5.0),
        ("partysync_frame_seconds_count", 5.0),
        ("partysync_actions_total{outcome=\"applied\"}", 2.0),
        ("partysync_actions_total{outcome=\"rejected\"}", 1.0),
        ("partysync_actions_total{outcome=\"later\"}", 0.0),
        ("partysync_actions_rejected_total{code=\"duplicate\"}", 1.0),
        ("partysync_frames_waiting", 0.0),
        ("partysync_stopping", 0.0),
        ("partysync_room_panics_total", 0.0),
    ] {
        assert_eq!(answer.metric(name), value, "{name}");
    }
    // One that rings a moment too early rings again.
    assert!((1.0..=2.0).contains(&answer.metric("partysync_alarms_total")));
    assert_eq!(answer.metric("partysync_frames_sent_total"), 8.0);
    assert!(answer.metric("partysync_sent_bytes_total") > answer.metric("partysync_frames_sent_total"));
    assert!(answer.metric("partysync_commit_seconds_count") >= 3.0);
    assert!(answer.metric("partysync_commit_seconds_sum") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_leave_memory_are_counted() {
    let served = serve_with(|builder| builder.idle_ms(0)).await;
    let operator = Operator::of(&served.server).await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    let left = |answer: &Answer, how| answer.metric(&format!("partysync_rooms_left_total{{how=\"{how}\"}}"));
    // It may have left, and come back, after each frame: what counts is how it is once nothing more comes.
    let until = async |connections: f64, is_so: &dyn Fn(&Answer) -> bool| {
        let settled = async {
            loop {
                let answer = operator.get("/metrics").await;
                let is_out = answer.metric("partysync_rooms_open") == 0.0;
                if is_out && answer.metric("partysync_connections") == connections && is_so(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.unwrap()
    };
    until(1.0, &|answer| left(answer, "hibernated") >= 1.0).await;
    drop(ann);
    let alone = until(0.0, &|_| true).await;
    // A room that is opened for this alone has no sockets to keep.
    assert_eq!(operator.get("/rooms/notes/lobby").await.status, 200);
    until(0.0, &|answer| left(answer, "evicted") > left(&alone, "evicted")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_of_prometheus_text_format() {
    let served = serve_with(|builder| builder).await;
    let operator = Operator::of(&served.server).await;
    let answer = operator.get("/metrics").await;
    let mut typed = "";
    let mut seen = std::collections::BTreeSet::new();
    for line in answer.text().lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            match kind {
                "HELP" => assert!(seen.insert(name) && words.next().is_some(), "{line}"),
                "TYPE" => assert!(["counter", "gauge", "histogram"].contains(&words.next().unwrap()), "{line}"),
                other => panic!("{other}"),
            }
            typed = name;
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with(typed), "{line} under {typed}");
        let plain = name.split('{').next().unwrap();
        assert!(plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
    }
    assert!(seen.len() > 20, "{seen:?}");
    if cfg!(target_os = "linux") {
        assert!(answer.metric("process_resident_memory_bytes") > 1e6);
        assert!(answer.metric("process_open_fds") > 3.0);
        assert!(answer.metric("process_max_fds") >= answer.metric("process_open_fds"));
    }
}
