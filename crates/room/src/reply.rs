//! What leaves the room, made from what is durable.

use std::collections::HashSet;
use std::sync::Arc;

use partysync_model::{Db, DbError, Origin, Value, push_row, push_tombstone, push_value};
use partysync_protocol::v1::{self, From};
use partysync_protocol::{ClientId, Cursor, ErrorCode, Millis, Version, WireError, v2};

use crate::capture::Change;
use crate::channel::ChannelTable;
use crate::clients::may_have_been_dropped;
use crate::connection::{Connection, Joined, Protocol};
use crate::event::{ConnectionId, Effect, Frame, Report};
use crate::step::{Made, Outcome, Ran, Work};
use crate::store::{self, Head};
use crate::{Room, SyncServer};

/// How long a client waits before it sends an action again that could not be stored.
const LATER_MS: u64 = 2_000;

/// What an event asked for.
#[derive(Debug)]
pub(crate) enum Reply {
    None,
    Frame(ConnectionId, Frame),
    Frames(ConnectionId, Vec<Frame>),
    Close(ConnectionId, u16, &'static str),
    V1Sync {
        connection: ConnectionId,
        channel: usize,
        from: From,
    },
    Join {
        connection: ConnectionId,
        client: ClientId,
        cursor: Option<Cursor>,
        born: Option<Version>,
    },
    /// It holds a version in full.
    Has(ConnectionId, Version),
    /// Why, if not because the client asked.
    Leave(ConnectionId, Option<WireError>),
    /// An index into the batch's steps, as `work` is.
    Hook(usize),
    Action {
        connection: ConnectionId,
        work: usize,
        reply: ActionReply,
    },
    Alarm(usize),
    CatchUp {
        connection: ConnectionId,
        since: Version,
    },
    /// A socket was quiet for long.
    Volunteer(ConnectionId),
}

impl Reply {
    /// The socket that alone hears of it.
    pub(crate) fn to(&self, ran: &[Ran]) -> Option<ConnectionId> {
        match self {
            Reply::Frame(to, _) | Reply::Frames(to, _) | Reply::Leave(to, _) => Some(*to),
            Reply::V1Sync { connection, .. } | Reply::Join { connection, .. } => Some(*connection),
            Reply::Action { connection, work, .. } => {
                ran.get(*work).is_none_or(|ran| ran.made.is_empty()).then_some(*connection)
            }
            _ => None,
        }
    }

    fn work(&self) -> Option<usize> {
        match self {
            Reply::Hook(work) | Reply::Alarm(work) | Reply::Action { work, .. } => Some(*work),
            _ => None,
        }
    }
}

/// How an action's sender wants its answer.
#[derive(Debug)]
pub(crate) enum ActionReply {
    V1 { channel: usize, id: String },
    V2 { number: u64 },
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Answers a batch. `before` is the cursor that all listeners hold.
    ///
    /// The patch comes last: who gets an ack before the version it names can drop its prediction in the same step as the
    /// version's rows come (SPEC 8.24). Who joins in this batch gets the patch's content with its snapshot.
    /// What the app sent comes after it, when the rows that it is about are there (SPEC 14.5).
    pub(crate) fn reply_all(
        &mut self,
        before: Cursor,
        mut replies: Vec<Reply>,
        works: &[Work],
        ran: &[Ran],
        effects: &mut Vec<Effect>,
    ) {
        let listeners = self.connections.v2_listeners();
        let (mut late, mut put_off) = (Vec::new(), self.put_off_catch_ups(&mut replies, ran));
        let makes_version = |reply: &Reply| reply.work().and_then(|w| ran.get(w)).is_some_and(|r| !r.made.is_empty());
        let last_version = replies.iter().rposition(makes_version).unwrap_or(0);
        for (place, reply) in replies.into_iter().enumerate() {
            if reply.to(ran).is_some_and(|to| self.connections.is_closing(to)) {
                continue;
            }
            let step = reply.work();
            if let Some(to) = self.reads_newest_v1(&reply, ran)
                && (place < last_version || put_off.who.contains(&to))
            {
                put_off.push(to, reply);
                continue;
            }
            let begin = effects.len();
            self.reply(reply, works, ran, &put_off.who, effects);
            put_off.take_from(effects, begin);
            if let Some(ran) = step.and_then(|step| ran.get(step)) {
                self.send_all(&ran.hook.sent, &mut late);
            }
        }
        self.tell_put_off(put_off, works, ran, effects);
        self.send_patch(listeners, before, ran, effects);
        effects.append(&mut late);
    }

    /// `put_off`: who is answered later what it asked for before.
    pub(crate) fn reply(
        &mut self,
        reply: Reply,
        works: &[Work],
        ran: &[Ran],
        put_off: &HashSet<ConnectionId>,
        effects: &mut Vec<Effect>,
    ) {
        match reply {
            Reply::None => {}
            Reply::Frame(to, frame) => effects.push(Effect::Send { to, frame }),
            Reply::Frames(to, frames) => {
                effects.extend(frames.into_iter().map(|frame| Effect::Send { to, frame }));
            }
            Reply::Close(connection, code, reason) => {
                self.connections.set_closing(connection);
                effects.push(Effect::Close { connection, code, reason: reason.into() });
            }
            Reply::V1Sync { connection, channel, from } => self.v1_sync(connection, channel, from, effects),
            Reply::Join { connection, client, cursor, born } => self.join(connection, client, cursor, born, effects),
            Reply::Has(connection, version) => effects.push(Effect::Has { connection, version }),
            Reply::Leave(to, error) => self.leave(to, error, effects),
            Reply::Action { connection, work, reply } => {
                let Some(ran) = ran.get(work) else { return };
                match reply {
                    ActionReply::V1 { channel, id } => {
                        self.v1_action(connection, channel, &id, ran, put_off.contains(&connection), effects);
                    }
                    ActionReply::V2 { number } => {
                        self.v1_broadcast_all(&ran.made, effects);
                        self.v2_outcome(connection, number, &ran.outcome, effects);
                    }
                }
            }
            Reply::Hook(work) => {
                if let (Some(Work::Hook(asked)), Some(ran)) = (works.get(work), ran.get(work)) {
                    self.hook_done(&asked.hook, ran, effects);
                }
            }
            Reply::Alarm(work) => {
                let Some(ran) = ran.get(work) else { return };
                self.alarm_done(ran);
                self.v1_broadcast_all(&ran.made, effects);
            }
            Reply::CatchUp { connection, since } => self.tell_missed(connection, since, effects),
            Reply::Volunteer(to) => self.volunteer(to, effects),
        }
    }

    /// One patch for all that the batch changed, to everyone who had joined before it and is still there (SPEC 8.23).
    fn send_patch(&self, to: Arc<[ConnectionId]>, before: Cursor, ran: &[Ran], effects: &mut Vec<Effect>) {
        let after = self.head.cursor;
        if after == before {
            return;
        }
        let to = self.connections.still_listening(to);
        if to.is_empty() {
            return;
        }
        let changes = ran.iter().flat_map(|r| &r.made).flat_map(|m| &m.changes);
        let frame = patch(self.name.address(), &self.channels, before.version, after, changes);
        effects.push(Effect::Broadcast { to, except: None, since: before.version, frame });
    }

    /// `is_put_off`: what it asked for before is answered with rows as they are after the whole batch, and so is this. Until then it is one of
    /// those that are told, each version at its place.
    fn v1_action(
        &mut self,
        to: ConnectionId,
        channel: usize,
        id: &str,
        ran: &Ran,
        is_put_off: bool,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.channels[channel].name.clone();
        let rows = match &ran.outcome {
            Outcome::Rejected(error) | Outcome::Unsettled(error) => {
                self.v1_broadcast_all(&ran.made, effects);
                effects.push(Effect::Send { to, frame: v1::error(&name, id, &error.text).into() });
                return;
            }
            Outcome::Applied { own: true, .. } => {
                let Some((own, others)) = ran.made.split_last() else { return };
                self.v1_broadcast_all(others, effects);
                let mut elsewhere = self.v1_rows(own);
                let of_channel = elsewhere.iter().position(|(of, _)| *of == channel);
                let rows = of_channel.map(|index| elsewhere.remove(index).1).unwrap_or_default();
                let since = own.head.cursor.version - 1;
                self.v1_broadcast(elsewhere, None, since, effects);
                if !rows.is_empty() {
                    let newest = if is_put_off { self.rows_of_version(Some(since + 1), channel).ok() } else { None };
                    effects.push(v1_success(to, &name, id, newest.as_deref().unwrap_or(&rows)));
                    self.v1_broadcast([(channel, rows)], Some(to).filter(|_| !is_put_off), since, effects);
                    return;
                }
                rows
            }
            Outcome::Applied { own: false, .. } => {
                self.v1_broadcast_all(&ran.made, effects);
                String::new()
            }
            Outcome::Repeated { version } => {
                self.v1_broadcast_all(&ran.made, effects);
                match self.rows_of_version(*version, channel) {
                    Ok(rows) => rows,
                    Err(error) => {
                        let error = partysync_model::ActionError::from(error);
                        effects.push(Effect::Send { to, frame: v1::error(&name, id, error.text()).into() });
                        return;
                    }
                }
            }
        };
        effects.push(v1_success(to, &name, id, &rows));
    }

    pub(crate) fn v1_broadcast_all(&mut self, made: &[Made], effects: &mut Vec<Effect>) {
        for made in made {
            let rows = self.v1_rows(made);
            self.v1_broadcast(rows, None, made.head.cursor.version - 1, effects);
        }
    }

    /// Sends rows that changed after `since` to all who listen to their channels.
    fn v1_broadcast(
        &mut self,
        rows: impl IntoIterator<Item = (usize, String)>,
        except: Option<ConnectionId>,
        since: Version,
        effects: &mut Vec<Effect>,
    ) {
        for (channel, rows) in rows {
            let to = self.connections.v1_listeners(channel);
            if to.iter().any(|c| Some(*c) != except) {
                let frame = v1::update(&self.channels[channel].name, &rows).into();
                effects.push(Effect::Broadcast { to, except, since, frame });
            }
        }
    }

    /// A version's rows as version 1 has them, separated by commas, by channel.
    fn v1_rows(&self, made: &Made) -> Vec<(usize, String)> {
        let mut rows: Vec<(usize, String)> = Vec::new();
        for Change { channel, id, row } in &made.changes {
            let known = rows.iter().position(|(of, _)| of == channel).unwrap_or_else(|| {
                rows.push((*channel, String::new()));
                rows.len() - 1
            });
            let out = &mut rows[known].1;
            push_comma(out);
            match row {
                Some(row) => out.push_str(row),
                // The step checked that the id can travel.
                None => drop(push_tombstone(out, id.as_ref(), self.channels[*channel].columns.len(), made.head.at)),
            }
        }
        rows
    }

    /// What a call that ran before has to show: its rows as they are now.
    fn rows_of_version(&mut self, version: Option<Version>, channel: usize) -> Result<String, DbError> {
        let Some(version) = version else { return Ok(String::new()) };
        let at = store::head_at(&mut self.db, version)?.unwrap_or(self.head).at;
        let keys = store::changes_of(&mut self.db, version)?;
        let mut rows = String::new();
        for key in keys.into_iter().filter(|k| k.channel == self.channels[channel].number) {
            let row = read_row(&mut self.db, &self.channels[channel], &key.id)?;
            push_comma(&mut rows);
            match row {
                Some(row) => rows.push_str(&row),
                None => drop(push_tombstone(&mut rows, key.id.as_ref(), self.channels[channel].columns.len(), at)),
            }
        }
        Ok(rows)
    }

    fn v1_sync(&mut self, to: ConnectionId, channel: usize, from: From, effects: &mut Vec<Effect>) {
        let from = self.believed(to, channel, from);
        match self.v1_sync_frames(channel, from) {
            Ok(frames) => {
                effects.extend(frames.into_iter().map(|frame| Effect::Send { to, frame }));
                self.listens(to, 1 << channel, 1 << channel, effects);
            }
            Err(error) => {
                let text = ErrorCode::StorageFailed.text();
                effects.push(Effect::Send { to, frame: v1::exception(text).into() });
                effects.push(Effect::Report(Report { during: "sync", error: error.to_string() }));
                // It does not ask again. It comes back, and is volunteered it then.
                effects.push(Effect::Close { connection: to, code: 1011, reason: "the server failed".into() });
            }
        }
    }

    /// The answer to a sync, and the tombstones in front of it (SPEC 12.9). A page that is sent these alone must ask from no later a time
    /// than before: so their time is one that it has, or the oldest, unless nothing follows.
    fn v1_sync_frames(&mut self, channel: usize, from: From) -> Result<Vec<Frame>, DbError> {
        let since = match from {
            From::Nothing => return Ok(vec![self.v1_snapshot(channel)?]),
            From::Time(time) => version_before(&mut self.db, self.floor, self.head, time)?,
            From::Unknown => None,
        };
        let Some(version) = since else {
            let frames = [self.all_tombstones(channel)?, Some(self.v1_snapshot(channel)?)];
            return Ok(frames.into_iter().flatten().collect());
        };
        let (live, dead) = self.v1_changes(channel, version)?;
        let at = match from {
            From::Time(time) if !live.is_empty() => time,
            _ => self.head.at,
        };
        let dead = self.tombstones(channel, &dead, at);
        let name = &self.channels[channel].name;
        let tombstones = (!dead.is_empty()).then(|| v1::update(name, &dead));
        Ok(tombstones.into_iter().chain([v1::sync(name, &live)]).map(Frame::from).collect())
    }

    fn v1_snapshot(&mut self, channel: usize) -> Result<Frame, DbError> {
        let cached = self.snapshots.v1(self.head.cursor.version).full.get(&channel);
        if let Some(frame) = cached {
            return Ok(frame.clone());
        }
        let rows = self.all_live(channel)?;
        let frame = Frame::from(v1::sync(&self.channels[channel].name, &rows));
        self.snapshots.v1(self.head.cursor.version).full.insert(channel, frame.clone());
        Ok(frame)
    }

    /// All live rows of a channel, separated by commas.
    fn all_live(&mut self, channel: usize) -> Result<String, DbError> {
        let mut rows = String::new();
        read_live(&mut self.db, &self.channels[channel], &mut |row| {
            push_comma(&mut rows);
            rows.push_str(row);
        })?;
        Ok(rows)
    }

    /// Live rows changed after a version, separated by commas, and the ids of those deleted since.
    pub(crate) fn v1_changes(&mut self, channel: usize, since: Version) -> Result<(String, Vec<Value>), DbError> {
        let table = &self.channels[channel];
        let (mut live, mut dead) = (String::new(), Vec::new());
        for key in store::changes_since(&mut self.db, since)?.into_iter().filter(|k| k.channel == table.number) {
            match read_row(&mut self.db, table, &key.id)? {
                Some(row) => {
                    push_comma(&mut live);
                    live.push_str(&row);
                }
                None => dead.push(key.id),
            }
        }
        Ok((live, dead))
    }

    /// Rows as deleted at a time, separated by commas.
    pub(crate) fn tombstones(&self, channel: usize, ids: &[Value], at: Millis) -> String {
        let mut dead = String::new();
        for id in ids {
            push_comma(&mut dead);
            // What is in the log can travel.
            let _ = push_tombstone(&mut dead, id.as_ref(), self.channels[channel].columns.len(), at);
        }
        dead
    }

    /// All live rows and tombstones of a channel as an update.
    pub(crate) fn v1_everything(&mut self, channel: usize) -> Result<Option<Frame>, DbError> {
        if let Some(frame) = self.snapshots.v1(self.head.cursor.version).all.get(&channel) {
            return Ok(frame.clone());
        }
        let (live, dead) = (self.all_live(channel)?, self.all_dead(channel)?);
        let dead = self.tombstones(channel, &dead, self.head.at);
        let frame = self.update_of(channel, live, &dead);
        self.snapshots.v1(self.head.cursor.version).all.insert(channel, frame.clone());
        Ok(frame)
    }

    fn all_tombstones(&mut self, channel: usize) -> Result<Option<Frame>, DbError> {
        if let Some(frame) = self.snapshots.v1(self.head.cursor.version).dead.get(&channel) {
            return Ok(frame.clone());
        }
        let dead = self.all_dead(channel)?;
        let oldest = store::head_at(&mut self.db, self.floor)?.unwrap_or(self.head).at;
        let dead = self.tombstones(channel, &dead, oldest);
        let frame = (!dead.is_empty()).then(|| Frame::from(v1::update(&self.channels[channel].name, &dead)));
        self.snapshots.v1(self.head.cursor.version).dead.insert(channel, frame.clone());
        Ok(frame)
    }

    /// The ids of all deleted rows of a channel that are kept and did not come back.
    fn all_dead(&mut self, channel: usize) -> Result<Vec<Value>, DbError> {
        let table = &self.channels[channel];
        let mut dead = Vec::new();
        for (id, _) in store::tombstones(&mut self.db, table.number)? {
            if read_row(&mut self.db, table, &id)?.is_none() {
                dead.push(id);
            }
        }
        Ok(dead)
    }

    fn join(
        &mut self,
        to: ConnectionId,
        client: ClientId,
        cursor: Option<Cursor>,
        born: Option<Version>,
        effects: &mut Vec<Effect>,
    ) {
        match self.join_frames(to, client, cursor, born) {
            Ok((version, frames)) => {
                let is_newborn = born.is_none();
                // From now on it may be dropped, however long it stays.
                let born = Some(born.unwrap_or(version));
                // What it said behind its `join`, in the same batch.
                let known = self.connections.joined(to).filter(|joined| joined.client == client).map_or(0, |j| j.known);
                let joined = Joined { client, known, born, is_newborn, live: true, is_leaving: false };
                self.connections.set_joined(to, Some(joined));
                effects.extend(frames.into_iter().map(|frame| Effect::Send { to, frame }));
            }
            Err(error) => {
                self.leave(to, Some(error), effects);
            }
        }
    }

    /// Puts a connection out of the room: for good, if its socket carries other rooms.
    fn leave(&mut self, to: ConnectionId, error: Option<WireError>, effects: &mut Vec<Effect>) {
        let frame = v2::encode(&v2::Left { room: self.name.address().into(), error }).into();
        if self.connections.get_mut(to).is_some_and(|c| c.is_further) {
            self.connections.set_closing(to);
            effects.push(Effect::Leave { connection: to, frame });
        } else {
            self.connections.set_joined(to, None);
            effects.push(Effect::Send { to, frame });
        }
    }

    /// What `joined` names as the version, and what the client is sent.
    fn join_frames(
        &mut self,
        connection: ConnectionId,
        client: ClientId,
        cursor: Option<Cursor>,
        born: Option<Version>,
    ) -> Result<(Version, Vec<Frame>), WireError> {
        let storage = |error: DbError| WireError::from(partysync_model::ActionError::from(error).code());
        let known = store::client(&mut self.db, &client.to_string()).map_err(storage)?;
        let identity = self.connections.get_mut(connection).and_then(|c: &mut Connection| c.info.identity.clone());
        if known.as_ref().is_some_and(|known| known.identity != identity) {
            return Err(ErrorCode::ClientTaken.into());
        }
        let valid = match cursor {
            Some(cursor) if cursor.version >= self.floor => {
                let head = store::head_at(&mut self.db, cursor.version).map_err(storage)?;
                head.is_some_and(|head| head.cursor == cursor).then_some(cursor.version)
            }
            _ => None,
        };
        let head = self.head.cursor;
        let (cursor, rows) = match valid {
            None => {
                let snapshot = self.snapshot().map_err(storage)?;
                (snapshot.cursor, snapshot.frames)
            }
            Some(version) if version == head.version => (head, Vec::new()),
            Some(version) => (head, vec![self.catch_up(version).map_err(storage)?]),
        };
        let joined = v2::Joined {
            room: self.name.address().into(),
            version: cursor.version,
            stamp: cursor.stamp,
            newest: (cursor != head).then_some(head.version),
            last: known.as_ref().map_or(0, |k| k.last),
            // One that is not there and cannot have been dropped never had an action run.
            known: known.is_some() || !may_have_been_dropped(born, self.dropped),
            reset: valid.is_none(),
            channels: self.channels.iter().map(|c| (c.name.clone(), c.columns.clone())).collect(),
        };
        let mut frames = vec![Frame::from(v2::encode(&joined))];
        frames.extend(rows);
        Ok((cursor.version, frames))
    }

    /// A patch from a version to the newest (SPEC 8.22).
    pub(crate) fn catch_up(&mut self, since: Version) -> Result<Frame, DbError> {
        let mut changes = Vec::new();
        for key in store::changes_since(&mut self.db, since)? {
            let Some(channel) = self.channels.iter().position(|c| c.number == key.channel) else { continue };
            let row = read_row(&mut self.db, &self.channels[channel], &key.id)?;
            changes.push(Change { channel, id: key.id, row });
        }
        Ok(patch(self.name.address(), &self.channels, since, self.head.cursor, changes.iter()))
    }

    fn v2_outcome(&mut self, to: ConnectionId, number: u64, outcome: &Outcome, effects: &mut Vec<Effect>) {
        let in_room = self
            .connections
            .get_mut(to)
            .is_some_and(|c| matches!(c.protocol, Protocol::V2 { joined: Some(Joined { live: true, .. }) }));
        if !in_room {
            return;
        }
        let room = self.name.address();
        let frame = match outcome {
            Outcome::Applied { version, .. } => v2::ack(room, number, *version),
            Outcome::Repeated { version } => v2::ack(room, number, version.unwrap_or(self.head.cursor.version)),
            Outcome::Rejected(error) => v2::encode(&v2::Reject { room: room.into(), number, error: error.clone() }),
            Outcome::Unsettled(error) if error.code == ErrorCode::ClientTaken.as_str() => {
                return self.leave(to, Some(error.clone()), effects);
            }
            Outcome::Unsettled(error) => {
                v2::encode(&v2::Later { room: room.into(), number, after_ms: LATER_MS, error: error.clone() })
            }
        };
        effects.push(Effect::Send { to, frame: frame.into() });
    }
}

/// The answer to an action of version 1 that was applied.
fn v1_success(to: ConnectionId, channel: &str, id: &str, rows: &str) -> Effect {
    let frame = v1::success(channel, id, rows).into();
    if rows.is_empty() {
        return Effect::Send { to, frame };
    }
    Effect::Answer { to, frame, bare: v1::success(channel, id, "").into() }
}

/// Writes changes as a patch: each key once, as the last of its changes left it.
fn patch<'c>(
    room: &str,
    channels: &[ChannelTable],
    from: Version,
    to: Cursor,
    changes: impl DoubleEndedIterator<Item = &'c Change>,
) -> Frame {
    let mut seen = HashSet::new();
    let mut lists = vec![(String::new(), String::new()); channels.len()];
    for Change { channel, id, row } in changes.rev() {
        let mut key = String::new();
        // The step checked that the id can travel.
        let _ = push_value(&mut key, id.as_ref());
        if !seen.insert((*channel, key.clone())) {
            continue;
        }
        let (puts, deletes) = &mut lists[*channel];
        let (list, entry) = match row {
            Some(row) => (puts, row),
            None => (deletes, &key),
        };
        push_comma(list);
        list.push_str(entry);
    }
    let changes =
        channels.iter().zip(&lists).map(|(channel, (puts, deletes))| (&*channel.name, puts.as_str(), deletes.as_str()));
    let changes = changes.filter(|(_, puts, deletes)| !puts.is_empty() || !deletes.is_empty());
    v2::patch(room, from, to, changes).into()
}

/// The version before the one whose time is `time`: what a client has that knows all before `time`. `None` if the log
/// has no such version: it is below the floor, of another history, or of another room.
fn version_before(db: &mut dyn Db, floor: Version, head: Head, time: i64) -> Result<Option<Version>, DbError> {
    let Some(oldest) = store::head_at(db, floor)? else { return Ok(None) };
    if time <= oldest.at || time > head.at {
        return Ok(None);
    }
    // Times grow with versions (SPEC 2.5): at(low) < time <= at(high).
    let (mut low, mut high) = (floor, head);
    while high.cursor.version - low > 1 {
        let middle = low + (high.cursor.version - low) / 2;
        match store::head_at(db, middle)? {
            Some(entry) if entry.at < time => low = middle,
            Some(entry) => high = entry,
            None => return Ok(None),
        }
    }
    // Whatever this room sends has the time of a version.
    Ok((high.at == time).then_some(low))
}

/// A live row as JSON.
fn read_row(db: &mut dyn Db, channel: &ChannelTable, id: &Value) -> Result<Option<String>, DbError> {
    let mut found = None;
    db.query(Origin::Engine, &channel.select_one, std::slice::from_ref(id), &mut |row| {
        if row.value(channel.deleted_at()) == partysync_model::ValueRef::Null {
            let mut json = String::new();
            found = push_row(&mut json, row).is_ok().then_some(json);
        }
    })?;
    Ok(found)
}

/// Shows all live rows as JSON. What cannot travel was there before the table was a channel; it is left out.
pub(crate) fn read_live(db: &mut dyn Db, channel: &ChannelTable, each: &mut dyn FnMut(&str)) -> Result<(), DbError> {
    let mut json = String::new();
    db.query(Origin::Engine, &channel.select_live, &[], &mut |row| {
        json.clear();
        if push_row(&mut json, row).is_ok() {
            each(&json);
        }
    })
}

pub(crate) fn push_comma(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}
