use partysync_model::{Columns, Db, DbError, Origin, ValueRef};

/// The triggers and views that an app makes in a new room: what runs by itself comes into no room by a file alone.
#[derive(Debug, Default)]
pub struct OwnObjects(Vec<String>);

impl OwnObjects {
    /// Those in the database of a room that the app has just made.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn of(db: &mut dyn Db) -> Result<Self, DbError> {
        let mut own = Vec::new();
        let sql = "SELECT sql FROM sqlite_schema WHERE type IN ('trigger', 'view') AND substr(name, 1, 1) != '_'";
        db.query(Origin::Engine, sql, &[], &mut |row: &dyn Columns| {
            if let ValueRef::Text(sql) = row.value(0) {
                own.push(plain(sql));
            }
        })?;
        Ok(OwnObjects(own))
    }

    /// Whether this makes one of them.
    pub(super) fn has(&self, sql: &str) -> bool {
        self.0.contains(&plain(sql))
    }
}

/// A home may have put its own quotes around names.
fn plain(sql: &str) -> String {
    sql.replace('`', "\"")
}
