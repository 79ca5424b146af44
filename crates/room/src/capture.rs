//! What a step changed, as the triggers saw it: stamped, read back, checked (SPEC 4).

use partysync_model::{ActionError, Columns, Db, DbError, ErrorCode, Millis, Origin, Value, ValueRef};
use partysync_model::{push_row, push_value};
use partysync_protocol::limits;

use crate::Changed;
use crate::channel::ChannelTable;
use crate::store::{self, ChangedKey, Head};

/// How often a step's rows are looked at again because stamping them changed others, through triggers of the app.
const STAMP_ROUNDS: usize = 8;

/// A row as a version left it.
#[derive(Debug)]
pub(crate) struct Change {
    /// An index into the room's channels.
    pub(crate) channel: usize,
    pub(crate) id: Value,
    /// The row as JSON; `None` if it is gone.
    pub(crate) row: Option<String>,
}

impl Change {
    /// About what it takes up in a patch.
    pub(crate) fn bytes(&self) -> usize {
        match (&self.row, &self.id) {
            (Some(row), _) => row.len(),
            (None, Value::Text(id)) => id.len(),
            (None, _) => size_of::<Value>(),
        }
    }
}

/// Stamps the rows that the triggers recorded and reads them back (SPEC 4.4).
pub(crate) fn capture(db: &mut dyn Db, channels: &[ChannelTable], head: Head) -> Result<Vec<Change>, ActionError> {
    for _ in 0..STAMP_ROUNDS {
        let keys = store::changes_of(db, head.cursor.version)?;
        if keys.len() > limits::ACTION_ROWS {
            return Err(ErrorCode::TooManyRows.into());
        }
        let mut changes = Vec::with_capacity(keys.len());
        let mut stamped = false;
        for key in keys {
            let (change, was_stamped) = capture_row(db, channels, head, &key)?;
            stamped |= was_stamped;
            changes.extend(change);
        }
        if !stamped {
            return Ok(changes);
        }
    }
    Err(ActionError::with_detail(ErrorCode::AppError, "triggers of the app change rows without end"))
}

/// How a changed row stands.
enum RowState {
    Gone,
    Unstamped { deleted: bool },
    Deleted,
    Live(Result<String, ActionError>),
}

/// Reads a changed row, or stamps it if its times are not this step's; says whether it did.
fn capture_row(
    db: &mut dyn Db,
    channels: &[ChannelTable],
    head: Head,
    key: &ChangedKey,
) -> Result<(Option<Change>, bool), ActionError> {
    let Some(index) = channels.iter().position(|c| c.number == key.channel) else { return Ok((None, false)) };
    let channel = &channels[index];
    check_id(key.id.as_ref())?;
    let row = match read_state(db, channel, head.at, &key.id)? {
        RowState::Unstamped { deleted } => {
            let sql = if deleted { &channel.stamp_deleted } else { &channel.stamp_live };
            store::run(db, sql, &[head.at.into(), key.id.clone()])?;
            return Ok((None, true));
        }
        RowState::Gone | RowState::Deleted => None,
        RowState::Live(json) => Some(json?),
    };
    if row.is_none() != key.deleted {
        store::set_op(db, head.cursor.version, key, row.is_none())?;
    }
    Ok((Some(Change { channel: index, id: key.id.clone(), row }), false))
}

fn read_state(db: &mut dyn Db, channel: &ChannelTable, at: Millis, id: &Value) -> Result<RowState, DbError> {
    let mut state = RowState::Gone;
    db.query(Origin::Engine, &channel.select_one, std::slice::from_ref(id), &mut |row| {
        let at = ValueRef::Integer(at);
        let deleted_at = row.value(channel.deleted_at());
        let deleted = deleted_at != ValueRef::Null;
        let has_creation = matches!(row.value(channel.created_at()), ValueRef::Integer(_));
        let stamped = row.value(channel.updated_at()) == at && if deleted { deleted_at == at } else { has_creation };
        state = match (stamped, deleted) {
            (false, deleted) => RowState::Unstamped { deleted },
            (true, true) => RowState::Deleted,
            (true, false) => RowState::Live(encode(channel, row)),
        };
    })?;
    Ok(state)
}

fn encode(channel: &ChannelTable, row: &dyn Columns) -> Result<String, ActionError> {
    let mut json = String::with_capacity(128);
    push_row(&mut json, row).map_err(|error| {
        let detail = format!("table {}, column {}", channel.name, channel.columns[error.column]);
        ActionError::with_detail(ErrorCode::ValueUnsupported, detail)
    })?;
    if json.len() > limits::ROW_BYTES {
        return Err(ErrorCode::TooLarge.into());
    }
    Ok(json)
}

fn check_id(id: ValueRef<'_>) -> Result<(), ActionError> {
    let fits = match id {
        ValueRef::Text(text) => text.len() <= limits::ID_BYTES,
        ValueRef::Integer(_) => push_value(&mut String::new(), id).is_some(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(ActionError::with_detail(ErrorCode::ValueUnsupported, "an id")) }
}

/// What the app says it changed must be among what the triggers saw (SPEC 4.4).
pub(crate) fn check_claims(changed: &Changed, channel: Option<usize>, changes: &[Change]) -> Result<(), ActionError> {
    let (Changed::Rows(rows), Some(channel)) = (changed, channel) else { return Ok(()) };
    let captured = |row: &&Vec<Value>| changes.iter().any(|c| c.channel == channel && Some(&c.id) == row.first());
    match rows.iter().find(|row| !captured(row)) {
        None => Ok(()),
        Some(_) => Err(ActionError::with_detail(
            ErrorCode::AppError,
            "on_action returned a row of its channel that it did not change",
        )),
    }
}
