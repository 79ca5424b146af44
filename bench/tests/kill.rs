//! P3: what was acked survives the process, whenever that is killed. The long form is `partysync-bench kill` (CONTRIBUTING.md).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use serde_json::Value;

#[test]
fn p3_p4_p5_a_server_that_is_killed_under_load_breaks_no_promise() {
    let output = Command::new(env!("CARGO_BIN_EXE_partysync-bench")).args(["kill", "--kills", "10"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["actions_answered"].as_u64().unwrap() > 100, "{result}");
    // Or nobody was killed in the middle of anything.
    assert!(result["asked_again_unanswered"].as_u64().unwrap() > 100, "{result}");
    assert_eq!(result["asked_again"].as_u64().unwrap(), 10 * 12, "each client, but in the first life; and at the end");
}
