//! What a server is free in: the stamps and times of a dialogue stand for those that the server chose.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// How many columns at the end of a row are times.
const TIMES: usize = 3;

/// What the dialogue's stamps and times stand for.
#[derive(Debug, Default)]
pub struct Bound {
    stamps: Pairs,
    times: Pairs,
}

/// Numbers of the dialogue and the server's that they stand for, one for one.
#[derive(Debug, Default)]
struct Pairs {
    to_server: BTreeMap<i64, i64>,
    to_dialogue: BTreeMap<i64, i64>,
}

impl Pairs {
    fn bind(&mut self, of_dialogue: i64, of_server: i64) -> Result<(), String> {
        let server = *self.to_server.entry(of_dialogue).or_insert(of_server);
        let dialogue = *self.to_dialogue.entry(of_server).or_insert(of_dialogue);
        if (server, dialogue) == (of_server, of_dialogue) {
            return Ok(());
        }
        Err(format!("{of_dialogue} stands for {server}, and {of_server} is {dialogue}"))
    }
}

impl Bound {
    /// A client's frame, as this server is to get it.
    pub fn to_server(&self, frame: &Json) -> Json {
        let mut frame = frame.clone();
        if let Some(stamp) = frame.pointer_mut("/cursor/stamp")
            && let Some(of_server) = stamp.as_i64().and_then(|stamp| self.stamps.to_server.get(&stamp))
        {
            *stamp = (*of_server).into();
        }
        frame
    }

    /// Whether a server's frame is the dialogue's.
    ///
    /// # Errors
    ///
    /// It is not; in words.
    pub fn compare(&mut self, expected: &Json, sent: &Json) -> Result<(), String> {
        let (mut wanted, mut got) = (expected.clone(), sent.clone());
        let compared = self.unify(&mut wanted, &mut got);
        compared.map_err(|why| format!("the server sent {sent}\nand not         {expected}\n{why}"))?;
        if wanted == got { Ok(()) } else { Err(format!("the server sent {got}\nand not         {wanted}")) }
    }

    /// Takes away what need not be equal.
    fn unify(&mut self, wanted: &mut Json, got: &mut Json) -> Result<(), String> {
        match kind(wanted) {
            "welcome" => [&mut *wanted, &mut *got].into_iter().for_each(|frame| {
                let of_version = |name: &String| name == "type" || name == "version";
                frame.as_object_mut().into_iter().for_each(|fields| fields.retain(|name, _| of_version(name)));
            }),
            "later" if got["after_ms"].is_u64() => got["after_ms"] = wanted["after_ms"].clone(),
            _ => {}
        }
        self.bind_stamp(wanted, got)?;
        match kind(wanted) {
            "snapshot" => self.bind_rows(&mut wanted["rows"], &mut got["rows"])?,
            "patch" => {
                sort(&mut wanted["changes"]);
                sort(&mut got["changes"]);
                for (wanted, got) in items(&mut wanted["changes"]).iter_mut().zip(items(&mut got["changes"])) {
                    self.bind_rows(&mut wanted["puts"], &mut got["puts"])?;
                    sort(&mut wanted["deletes"]);
                    sort(&mut got["deletes"]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn bind_stamp(&mut self, wanted: &Json, got: &mut Json) -> Result<(), String> {
        let stamp = |frame: &Json| frame["stamp"].as_i64();
        let (Some(of_dialogue), Some(of_server)) = (stamp(wanted), stamp(got)) else { return Ok(()) };
        self.stamps.bind(of_dialogue, of_server)?;
        got["stamp"] = of_dialogue.into();
        Ok(())
    }

    fn bind_rows(&mut self, wanted: &mut Json, got: &mut Json) -> Result<(), String> {
        sort(wanted);
        sort(got);
        for (wanted, got) in items(wanted).iter_mut().zip(items(got)) {
            let (wanted, got) = (items(wanted), items(got));
            for (wanted, got) in wanted.iter().rev().zip(got.iter_mut().rev()).take(TIMES) {
                if let (Some(of_dialogue), Some(of_server)) = (wanted.as_i64(), got.as_i64()) {
                    self.times.bind(of_dialogue, of_server)?;
                    *got = of_dialogue.into();
                }
            }
        }
        Ok(())
    }

    /// Whether later times of the dialogue stand for later ones of the server.
    ///
    /// # Errors
    ///
    /// They do not; in words.
    pub fn check_order(&self) -> Result<(), String> {
        let of_server: Vec<_> = self.times.to_server.values().collect();
        if of_server.is_sorted() { Ok(()) } else { Err(format!("times are out of order: {:?}", self.times)) }
    }
}

/// The type of a frame.
fn kind(frame: &Json) -> &str {
    frame["type"].as_str().unwrap_or_default()
}

fn items(list: &mut Json) -> &mut [Json] {
    list.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default()
}

/// By what stands first in an item: a row's id, a channel's name, an id.
fn sort(list: &mut Json) {
    items(list).sort_by_key(|item| {
        let first = item.get(0).or_else(|| item.get("channel")).unwrap_or(item);
        first.to_string()
    });
}
