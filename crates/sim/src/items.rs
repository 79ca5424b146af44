//! What a room hands out of its outbox (SPEC 7.9 to 7.11).

use partysync_room::OutboxItem;

use crate::app::Item;
use crate::checks::{Checked, Ledger, Promise, Violation, ensure};

impl Ledger {
    /// P3, P4: an item is handed out only if its step is there; in order; each time under one key, which no other has.
    pub(crate) fn handed_out(&mut self, item: &OutboxItem) -> Result<Item, Violation> {
        let Ok(known) = serde_json::from_str::<Item>(&item.body) else {
            return Err(Violation { promise: Promise::P5, what: format!("{item:?} is none of the app's") });
        };
        let history = &mut self.history;
        let Some(place) = history.items.iter().position(|item| *item == known) else {
            return Err(Violation { promise: Promise::P5, what: format!("nothing that was applied left {known:?}") });
        };
        let skipped = history.items[..place].iter().find(|item| !history.handed_out.contains_key(*item));
        // What has no version is as old as the clock said.
        ensure!(skipped.is_none() || self.went_back, P2, "{known:?} was handed out before {skipped:?}");
        let key = history.handed_out.entry(known).or_insert_with(|| item.key.clone());
        ensure!(*key == item.key, P4, "{known:?} was handed out as {key} and as {}", item.key);
        let whose = *self.keys.entry(item.key.clone()).or_insert(known);
        ensure!(whose == known, P4, "{} is the key of {whose:?} and of {known:?}", item.key);
        Ok(known)
    }

    /// Whether something is still to be delivered.
    pub(crate) fn has_items(&self) -> bool {
        self.history.items.iter().any(|item| !self.delivered.contains(item))
    }

    /// P4: at the end everything was delivered.
    pub(crate) fn check_all_delivered(&self) -> Checked {
        let missing = self.history.items.iter().find(|item| !self.delivered.contains(item));
        ensure!(missing.is_none(), P4, "{missing:?} was never delivered");
        Ok(())
    }
}
