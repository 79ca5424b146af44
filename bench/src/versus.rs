//! One kind of load in one version of the protocol; or in both, in turn, so that what else the machine does falls on both alike.

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::options::Target;
use crate::result::{Outcome, median, rounded};
use crate::wire::Protocol;

/// Runs a kind of load and tells what it found. Returns whether all that must be 0 was.
pub(crate) fn run(target: &Target, run: impl Fn(&Target) -> Result<Outcome, Error>) -> Result<bool, Error> {
    let Some(runs) = target.versus else {
        let outcome = run(target)?;
        outcome.print();
        return Ok(outcome.is_sound());
    };
    let (mut of_1, mut of_2) = (Vec::new(), Vec::new());
    for turn in 0..runs.max(1) {
        let order = if turn % 2 == 0 { [Protocol::V1, Protocol::V2] } else { [Protocol::V2, Protocol::V1] };
        for protocol in order {
            let outcome = run(&Target { protocol, ..target.clone() })?;
            eprintln!("version {}: {}", protocol.number(), outcome.line());
            match protocol {
                Protocol::V1 => of_1.push(outcome),
                Protocol::V2 => of_2.push(outcome),
            }
        }
    }
    println!("{}", compared(&of_1, &of_2));
    Ok(of_1.iter().chain(&of_2).all(Outcome::is_sound))
}

/// Each figure's medians, and version 2's as a part of version 1's.
fn compared(of_1: &[Outcome], of_2: &[Outcome]) -> Value {
    let mut figures = Map::new();
    for name in of_1.first().into_iter().flat_map(Outcome::numbers) {
        let [one, two] = [of_1, of_2].map(|outcomes| median(outcomes.iter().map(|outcome| outcome.figure(name))));
        let (one, two, ratio) = (rounded(one), rounded(two), rounded(two / one));
        figures.insert(name.to_owned(), json!({ "v1": one, "v2": two, "ratio": ratio }));
    }
    figures.insert("runs".to_owned(), of_1.len().into());
    Value::Object(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_set_against_each_other() {
        let outcomes = |values: [f64; 3]| {
            values.map(|value| {
                let mut outcome = Outcome::new("test", "");
                outcome.add("x", value);
                outcome
            })
        };
        let compared = compared(&outcomes([1.0, 9.0, 4.0]), &outcomes([2.0, 1.0, 7.0]));
        assert_eq!(compared, json!({ "x": { "v1": 4.0, "v2": 2.0, "ratio": 0.5 }, "runs": 3 }));
    }
}
