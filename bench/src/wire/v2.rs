//! Version 2 of the protocol.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Heard, Held, RowId, fill_action, fresh_client, number, push_create, row_id};
use crate::frame;

/// Patches after which a client says what it has, unless the server says how many (SPEC 8.25).
const HAVE_PATCHES: u32 = 32;
/// How long after it last did so it does it again if patches come, likewise.
const HAVE_EVERY: Duration = Duration::from_secs(1);

/// A joined client: it knows which version it holds and which of its actions are not answered, and takes nothing that does not
/// follow from that.
#[derive(Debug)]
pub(crate) struct V2 {
    names: Arc<Names>,
    /// The client's secret.
    client: String,
    session: Session,
    /// The version that it asked to go on from.
    held: Option<u64>,
    /// Actions that were sent and are not acked.
    asked: VecDeque<Asked>,
    /// Acked actions whose effect has not come, and the version that it comes with.
    acked: VecDeque<(u64, Asked)>,
    /// The number of the last action sent.
    number: u64,
    /// Of the last one whose effect has come.
    settled: u64,
    /// Actions up to this number were sent before the snapshot came, and may be in it.
    early: u64,
    have_patches: u32,
    have_every: Duration,
    /// Patches since the last `have`.
    patches: u32,
    had_at: Option<Instant>,
    /// Those of the patch that is being read.
    rows: Vec<RowId>,
}

/// What all clients of a room write and read, and share, since there are thousands: a text of its own for each would have to come
/// from memory for each patch, which costs this program's processor, and so the server's figures, more than version 1 does.
#[derive(Debug)]
struct Names {
    /// `party/room`.
    address: String,
    /// How acks and patches begin.
    ack: String,
    patch: String,
}

impl Names {
    /// Those of the room that was named last, mostly.
    fn of(party: &str, room: &str) -> Arc<Names> {
        static LAST: Mutex<Option<Arc<Names>>> = Mutex::new(None);
        let address = format!("{party}/{room}");
        let last = &mut *LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = last.as_ref().filter(|names| names.address == address) {
            return Arc::clone(names);
        }
        let names = Arc::new(Names {
            ack: format!(r#"{{"type":"ack","room":"{address}","number":"#),
            patch: format!(r#"{{"type":"patch","room":"{address}","from":"#),
            address,
        });
        *last = Some(Arc::clone(&names));
        names
    }
}

/// How far it has come.
#[derive(Debug)]
enum Session {
    Greeting,
    Joining,
    /// A snapshot is coming, and behind it a patch to the room's newest version, if that is further.
    Loading {
        version: u64,
        newest: u64,
        rows: usize,
    },
    /// The snapshot is here, or none was needed, and the patch to the newest version is coming.
    Following {
        version: u64,
        newest: u64,
        rows: usize,
    },
    /// It holds this version.
    Live {
        version: u64,
    },
}

/// What an action asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Row(RowId),
    /// So many rows that are nobody's.
    Fill(usize),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    version: u64,
    newest: Option<u64>,
    have_patches: Option<u32>,
    have_ms: Option<u64>,
    #[serde(default)]
    reset: bool,
    #[serde(default)]
    known: bool,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    to: u64,
    #[serde(borrow, default)]
    changes: Vec<Changes<'a>>,
    #[serde(default)]
    rows: Vec<IgnoredAny>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    puts: Vec<Row<'a>>,
    deletes: Vec<IgnoredAny>,
}

/// id, text, completed, and the three times.
#[derive(Deserialize)]
struct Row<'a>(&'a str, IgnoredAny, IgnoredAny, IgnoredAny, IgnoredAny, Option<i64>);

/// A message that is not as it should be.
struct Fault;

impl V2 {
    pub(super) fn new(party: &str, room: &str) -> Self {
        V2 {
            names: Names::of(party, room),
            client: fresh_client(),
            session: Session::Greeting,
            held: None,
            asked: VecDeque::new(),
            acked: VecDeque::new(),
            number: 0,
            settled: 0,
            early: 0,
            have_patches: HAVE_PATCHES,
            have_every: HAVE_EVERY,
            patches: 0,
            had_at: None,
            rows: Vec::new(),
        }
    }

    pub(super) fn enter(&self) -> Vec<String> {
        self.join("null", "null")
    }

    pub(super) fn enter_from(&mut self, held: Held) -> Vec<String> {
        let Held { version, stamp, .. } = held;
        self.held = Some(version);
        self.join(&format!(r#"{{"version":{version},"stamp":{stamp}}}"#), &version.to_string())
    }

    fn join(&self, cursor: &str, born: &str) -> Vec<String> {
        let (address, client) = (&self.names.address, &self.client);
        vec![
            r#"{"type":"hello","versions":[2]}"#.to_owned(),
            format!(r#"{{"type":"join","room":"{address}","client":"{client}","cursor":{cursor},"born":{born}}}"#),
        ]
    }

    pub(super) fn create(&mut self, message: &mut String, row: RowId, text: &str) {
        self.begin_action(message, Asked::Row(row));
        push_create(message, row, text);
        message.push('}');
    }

    pub(super) fn fill(&mut self, from: usize, to: usize, text: &str) -> String {
        let mut message = String::new();
        self.begin_action(&mut message, Asked::Fill(to - from));
        message.push_str(&fill_action(from, to, text));
        message.push('}');
        message
    }

    fn begin_action(&mut self, message: &mut String, asked: Asked) {
        self.number += 1;
        self.asked.push_back(asked);
        let (address, number) = (&self.names.address, self.number);
        // Writing to a String never fails.
        let _ =
            write!(message, r#"{{"type":"action","room":"{address}","number":{number},"channel":"todos","action":"#);
    }

    pub(super) fn read(&mut self, message: &[u8], now: Instant, out: &mut Vec<u8>, heard: &mut Vec<Heard>) {
        let before = heard.len();
        let read = match self.fast(message, heard) {
            Some(read) => read,
            None => {
                heard.truncate(before);
                self.slow(message, heard)
            }
        };
        if read.is_err() {
            heard.push(Heard::Wrong);
        }
        self.have(now, out);
    }

    /// Reads an ack, or a patch of puts alone, written as our server writes it. `None`: it is another message, and nothing has
    /// happened.
    fn fast(&mut self, message: &[u8], heard: &mut Vec<Heard>) -> Option<Result<(), Fault>> {
        if let Some(rest) = message.strip_prefix(self.names.ack.as_bytes()) {
            let (number, rest) = number(rest)?;
            let (version, rest) = self::number(rest.strip_prefix(br#","version":"#)?)?;
            return (rest == b"}").then(|| self.acked(number, version, heard));
        }
        let (from, rest) = number(message.strip_prefix(self.names.patch.as_bytes())?)?;
        let (to, rest) = number(rest.strip_prefix(br#","to":"#)?)?;
        let (_, rest) = number(rest.strip_prefix(br#","stamp":"#)?)?;
        let rows = rest.strip_prefix(br#","changes":[{"channel":"todos","puts":["#)?;
        let rows = rows.strip_suffix(br#"],"deletes":[]}]}"#)?;
        // Looked through before anything is believed.
        each_row(rows, &mut |_| ())?;
        Some(self.patched(from, to, heard, |each| {
            each_row(rows, each);
        }))
    }

    fn slow(&mut self, message: &[u8], heard: &mut Vec<Heard>) -> Result<(), Fault> {
        let m: Message<'_> = serde_json::from_slice(message).map_err(|_| Fault)?;
        match (m.kind, &mut self.session) {
            ("welcome", Session::Greeting) if m.version == 2 => {
                self.session = Session::Joining;
                self.have_patches = m.have_patches.unwrap_or(HAVE_PATCHES);
                self.have_every = m.have_ms.map_or(HAVE_EVERY, Duration::from_millis);
            }
            ("joined", Session::Joining) if m.known && !m.reset => match self.held {
                Some(held) if held == m.version => self.loaded(held, 0, heard),
                Some(held) => self.session = Session::Following { version: held, newest: m.version, rows: 0 },
                None => return Err(Fault),
            },
            ("joined", Session::Joining) if m.known => {
                let newest = m.newest.unwrap_or(m.version);
                self.session = Session::Loading { version: m.version, newest, rows: 0 };
            }
            ("snapshot", &mut Session::Loading { version, newest, ref mut rows }) => {
                *rows += m.rows.len();
                let rows = *rows;
                if !m.more && newest > version {
                    self.session = Session::Following { version, newest, rows };
                } else if !m.more {
                    self.loaded(newest, rows, heard);
                }
            }
            ("ack", _) => return self.acked(m.number, m.version, heard),
            ("patch", _) => {
                if m.changes.iter().any(|changes| !changes.deletes.is_empty()) {
                    return Err(Fault);
                }
                let ids =
                    m.changes.iter().flat_map(|changes| &changes.puts).map(Row::id).collect::<Result<Vec<_>, _>>()?;
                return self.patched(m.from, m.to, heard, |each| ids.into_iter().for_each(each));
            }
            _ => return Err(Fault),
        }
        Ok(())
    }

    /// All rows of a version are here.
    fn loaded(&mut self, version: u64, rows: usize, heard: &mut Vec<Heard>) {
        heard.push(Heard::Snapshot(rows));
        self.session = Session::Live { version };
        self.early = self.number;
    }

    /// Acks come in the order of the actions, and before the patch with their effect (SPEC 8.24).
    fn acked(&mut self, number: u64, version: u64, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        let asked = self.asked.front().copied().ok_or(Fault)?;
        if number != self.number + 1 - self.asked.len() as u64 {
            return Err(Fault);
        }
        self.asked.pop_front();
        match self.session {
            Session::Live { version: held } if version > held => self.acked.push_back((version, asked)),
            Session::Live { .. } if number <= self.early => {
                self.settled += 1;
                heard.push(match asked {
                    Asked::Row(row) => Heard::Ack(row),
                    Asked::Fill(_) => Heard::Filled,
                });
            }
            _ => return Err(Fault),
        }
        Ok(())
    }

    /// A patch follows from the version that is held, and holds the effect of each acked action that it goes past (SPEC 8.23).
    /// `None` is a row that is nobody's.
    fn patched(
        &mut self,
        from: u64,
        to: u64,
        heard: &mut Vec<Heard>,
        rows: impl FnOnce(&mut dyn FnMut(Option<RowId>)),
    ) -> Result<(), Fault> {
        match &mut self.session {
            Session::Live { version } if *version == from && from < to => *version = to,
            // A row of this load is made once, and never changed: each is one more.
            &mut Session::Following { version, newest, rows: mut count } if (version, newest) == (from, to) => {
                rows(&mut |_| count += 1);
                self.loaded(to, count, heard);
                return Ok(());
            }
            _ => return Err(Fault),
        }
        self.patches += 1;
        let mut of_nobody = 0;
        let known = &mut self.rows;
        rows(&mut |row| match row {
            Some(row) => known.push(row),
            None => of_nobody += 1,
        });
        // Within a patch they have no order (SPEC 8.29).
        self.rows.sort_unstable();
        for row in self.rows.drain(..) {
            if self.acked.front().is_some_and(|(version, asked)| *version <= to && *asked == Asked::Row(row)) {
                self.acked.pop_front();
                self.settled += 1;
                heard.push(Heard::Ack(row));
            } else {
                heard.push(Heard::News(row));
            }
        }
        while let Some((version, asked)) = self.acked.front()
            && *version <= to
        {
            let Asked::Fill(count @ 1..) = *asked else { return Err(Fault) };
            if count > of_nobody {
                return Err(Fault);
            }
            of_nobody -= count;
            self.acked.pop_front();
            self.settled += 1;
            heard.push(Heard::Filled);
        }
        Ok(())
    }

    /// Says what it has, if it is time to.
    fn have(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Session::Live { version } = self.session else { return };
        let had_at = *self.had_at.get_or_insert(now);
        if self.patches >= self.have_patches || (self.patches > 0 && now - had_at >= self.have_every) {
            self.patches = 0;
            self.had_at = Some(now);
            let (address, settled) = (&self.names.address, self.settled);
            let have = format!(r#"{{"type":"have","room":"{address}","version":{version},"number":{settled}}}"#);
            frame::push_text(out, &have);
        }
    }
}

/// Shows the rows of a list that is written without spaces, whose texts have no brackets. `None` if it is none.
fn each_row(mut rows: &[u8], each: &mut dyn FnMut(Option<RowId>)) -> Option<()> {
    loop {
        let rest = rows.strip_prefix(b"[\"")?;
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (row, rest) = rest.split_at(end);
        let (id, _) = row_id(row)?;
        if !row.ends_with(b",null") || row.contains(&b'[') {
            return None;
        }
        each(Some(id));
        match rest {
            b"]" => return Some(()),
            _ => rows = rest.strip_prefix(b"],")?,
        }
    }
}

impl Row<'_> {
    /// Whose it is; `None` if it is nobody's.
    fn id(&self) -> Result<Option<RowId>, Fault> {
        let id = row_id(format!("{}\"", self.0).as_bytes()).map(|(id, _)| id);
        if self.5.is_none() { Ok(id) } else { Err(Fault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: RowId = RowId { client: 3, number: 0 };
    const OTHER: RowId = RowId { client: 4, number: 9 };

    /// A client at version 5 that has asked for a row.
    fn asking() -> V2 {
        let mut line = V2::new("todos", "a");
        line.session = Session::Live { version: 5 };
        line.create(&mut String::new(), MINE, "text");
        line
    }

    fn hear(line: &mut V2, message: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        line.read(message.as_bytes(), Instant::now(), &mut Vec::new(), &mut heard);
        heard
    }

    fn ack(number: u64, version: u64) -> String {
        format!(r#"{{"type":"ack","room":"todos/a","number":{number},"version":{version}}}"#)
    }

    fn patch(from: u64, to: u64, ids: &[&str]) -> String {
        let puts: Vec<String> = ids.iter().map(|id| format!(r#"["{id}","text",0,1,1,null]"#)).collect();
        let puts = puts.join(",");
        format!(
            r#"{{"type":"patch","room":"todos/a","from":{from},"to":{to},"stamp":77,"changes":[{{"channel":"todos","puts":[{puts}],"deletes":[]}}]}}"#
        )
    }

    #[test]
    fn an_action_is_answered_when_its_ack_and_its_row_are_here() {
        for spaced in [false, true] {
            let written = |message: String| if spaced { message.replace(':', " : ") } else { message };
            let mut line = asking();
            assert_eq!(hear(&mut line, &written(ack(1, 7))), []);
            assert_eq!(hear(&mut line, &written(patch(5, 6, &["4-9"]))), [Heard::News(OTHER)]);
            assert_eq!(hear(&mut line, &written(patch(6, 8, &["3-0", "4-9"]))), [Heard::Ack(MINE), Heard::News(OTHER)]);
        }
    }

    #[test]
    fn what_does_not_follow_is_wrong() {
        for messages in [
            vec![patch(6, 7, &["4-9"])],
            vec![patch(4, 6, &["4-9"])],
            vec![patch(5, 6, &["4-9"]), patch(5, 6, &["4-9"])],
            vec![patch(5, 6, &["4-9"]).replace("null", "8")],
            vec![patch(5, 6, &["4-9"]).replace(r#""deletes":[]"#, r#""deletes":["4-9"]"#)],
            // Acked, and the row does not come with the version.
            vec![ack(1, 6), patch(5, 6, &["4-9"])],
            vec![ack(2, 6)],
            vec![ack(1, 5)],
            vec![ack(1, 6), ack(1, 6)],
            vec![ack(1, 6).replace("ack", "later")],
            vec!["{".to_owned()],
        ] {
            let mut line = asking();
            let heard: Vec<Heard> = messages.iter().flat_map(|message| hear(&mut line, message)).collect();
            assert_eq!(heard.last(), Some(&Heard::Wrong), "{messages:?}");
        }
    }

    #[test]
    fn a_join_is_a_snapshot_of_all_rows() {
        let mut line = V2::new("todos", "a");
        assert_eq!(hear(&mut line, r#"{"type":"welcome","version":2,"rooms":1,"ping_ms":1,"frame_bytes":1}"#), []);
        let joined = r#"{"type":"joined","room":"todos/a","version":5,"stamp":1,"last":0,"known":true,"reset":true,"channels":{}}"#;
        assert_eq!(hear(&mut line, joined), []);
        let rows = |more: bool| {
            format!(r#"{{"type":"snapshot","room":"todos/a","channel":"todos","rows":[[1],[2]],"more":{more}}}"#)
        };
        assert_eq!(hear(&mut line, &rows(true)), []);
        assert_eq!(hear(&mut line, &rows(false)), [Heard::Snapshot(4)]);
        assert_eq!(hear(&mut line, &patch(5, 6, &["4-9"])), [Heard::News(OTHER)]);
    }

    #[test]
    fn spec_8_36_a_join_by_an_older_snapshot_is_done_with_the_patch_behind_it() {
        let joined = r#"{"type":"joined","room":"todos/a","version":5,"newest":7,"stamp":1,"last":0,"known":true,"reset":true,"channels":{}}"#;
        let rows = r#"{"type":"snapshot","room":"todos/a","channel":"todos","rows":[[1],[2]],"more":false}"#;
        for (behind, expected) in [
            (patch(5, 7, &["4-9"]), Heard::Snapshot(3)),
            (patch(5, 6, &["4-9"]), Heard::Wrong),
            (ack(1, 5), Heard::Wrong),
        ] {
            let mut line = V2::new("todos", "a");
            line.session = Session::Joining;
            assert_eq!(hear(&mut line, joined), []);
            assert_eq!(hear(&mut line, rows), []);
            assert_eq!(hear(&mut line, &behind), [expected]);
        }
    }

    #[test]
    fn spec_8_22_who_goes_on_from_what_it_has_gets_what_changed() {
        let joined = |reset: bool| {
            format!(
                r#"{{"type":"joined","room":"todos/a","version":7,"stamp":1,"last":0,"known":true,"reset":{reset},"channels":{{}}}}"#
            )
        };
        for (held, behind, expected) in
            [(5, patch(5, 7, &["4-9", "4-8"]), 2), (6, patch(6, 7, &["4-9"]), 1), (7, patch(7, 8, &["4-9"]), 0)]
        {
            let mut line = V2::new("todos", "a");
            let join = line.enter_from(Held { version: held, stamp: 9, time: 0 }).pop().unwrap();
            assert!(join.contains(&format!(r#""cursor":{{"version":{held},"stamp":9}},"born":{held}"#)), "{join}");
            line.session = Session::Joining;
            let mut heard = hear(&mut line, &joined(false));
            heard.extend(hear(&mut line, &behind));
            assert_eq!(heard[0], Heard::Snapshot(expected));
        }
        let mut line = V2::new("todos", "a");
        line.session = Session::Joining;
        assert_eq!(hear(&mut line, &joined(false)), [Heard::Wrong], "it has nothing to go on from");
    }

    #[test]
    fn spec_8_25_what_it_has_is_said_as_often_as_the_server_asks() {
        let (mut line, mut out) = (V2::new("todos", "a"), Vec::new());
        hear(
            &mut line,
            r#"{"type":"welcome","version":2,"rooms":1,"ping_ms":1,"have_patches":3,"have_ms":90000,"frame_bytes":1}"#,
        );
        line.session = Session::Live { version: 5 };
        let (start, mut said) = (Instant::now(), Vec::new());
        for (from, after) in [(5, 0), (6, 2), (7, 2), (8, 50), (9, 91), (10, 181)] {
            let now = start + Duration::from_secs(after);
            line.read(patch(from, from + 1, &["4-9"]).as_bytes(), now, &mut out, &mut Vec::new());
            said.push(!std::mem::take(&mut out).is_empty());
        }
        assert_eq!(said, [false, false, true, false, false, true]);
    }

    #[test]
    fn spec_8_25_what_it_has_is_said_every_32_patches_and_every_second() {
        let (mut line, mut out, start) = (asking(), Vec::new(), Instant::now());
        let mut take = |from: u64, now: Instant| {
            line.read(patch(from, from + 1, &["4-9"]).as_bytes(), now, &mut out, &mut Vec::new());
            std::mem::take(&mut out).len()
        };
        let said: Vec<bool> = (5..69).map(|from| take(from, start) > 0).collect();
        let expected: Vec<bool> = (1..=64).map(|patches| patches % 32 == 0).collect();
        assert_eq!(said, expected);
        assert_eq!(take(69, start), 0);
        assert!(take(70, start + HAVE_EVERY) > 0);
    }
}
