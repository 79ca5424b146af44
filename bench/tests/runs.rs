//! The program as whoever starts it sees it: each kind of load, small.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_partysync-bench")).args(arguments.split(' ')).output().unwrap()
}

#[test]
fn each_kind_of_load_runs_and_finds_nothing_missed() {
    for (arguments, figure, least) in [
        ("actions -c 3 -k 4 -d 0.3 --warmup 0 --rows 10", "actions", 3.0),
        ("actions -d 0.3 --warmup 0 --unsynced --keyed", "ack_p50_ms", 0.001),
        ("rooms --rooms 3 -c 2 -d 0.3 --warmup 0", "actions", 3.0),
        ("fanout -m 5 -r 20 -d 0.5 --warmup 0", "deliveries_per_s", 5.0),
        ("join -n 10001 -c 3 --keyed", "bytes", 10_001.0),
        ("join -n 0 -c 2 --one-by-one", "bytes", 10.0),
        ("join -n 2000 -c 5 --one-by-one --changes 2", "bytes", 2_000.0),
        ("resume -n 500 -m 3 -c 4 --newcomers 2", "first_full_down_bytes", 503.0),
        ("bytes -c 4 -n 40 -k 2", "down_bytes", 160.0),
        ("idle --connections 20 --rooms 3 --settle 0.1", "connections", 20.0),
        ("many-rooms --rooms 5 --settle 0.1", "disk_bytes", 5.0 * 4096.0),
    ] {
        for protocol in [1, 2] {
            let output = run(&format!("{arguments} --protocol {protocol}"));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{arguments}: {told}");
            let result: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(result["protocol"], protocol, "{arguments}");
            assert!(result[figure].as_f64().unwrap() >= least, "{arguments}: {result}");
            assert_eq!(told.lines().count(), 1, "{arguments}: {told}");
        }
    }
}

#[test]
fn both_versions_are_set_against_each_other() {
    let output = run("actions -d 0.2 --warmup 0 --versus 1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = &result["actions_per_s"];
    let number = |name: &str| rate[name].as_f64().unwrap();
    assert!((number("v2") / number("v1") / number("ratio") - 1.0).abs() < 0.02, "{rate}");
}

#[test]
fn what_cannot_be_measured_is_said_in_one_line() {
    for (arguments, why) in [
        ("actions --address 10.1.2.3:80", "load is for loopback addresses alone"),
        ("actions --address nonsense", "is no address"),
        ("actions --address 127.0.0.1:1", "cannot connect to"),
    ] {
        let output = run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        assert!(told.contains(why) && told.lines().count() == 1, "{arguments}: {told}");
    }
}

#[test]
fn a_report_has_its_tables_and_charts() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = run(&format!("report --out {out} -d 0.1 --runs 1 --most 10"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (chart, points) in [("listeners", 2), ("rows", 2), ("rooms", 2)] {
        let svg = std::fs::read_to_string(folder.path().join(format!("{chart}.svg"))).unwrap();
        let path = svg.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.split(' ').count(), points, "{chart}");
    }
    let tables = std::fs::read_to_string(folder.path().join("tables.md")).unwrap();
    assert_eq!(tables.matches("\n| 10 |").count(), 3, "{tables}");
}
