//! Delivers what rooms put into their outboxes, by code of the app that may wait (SPEC 7.9, 7.10).

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use partysync_protocol::limits;
use partysync_room::OutboxItem;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::door::{Pending, caught};
use crate::mailbox::Mailbox;
use crate::rooms::Rooms;

/// How long a server that stops waits for what is on its way. Then it is let go, and delivered again when the server is back.
const LAST_CALL: Duration = Duration::from_secs(5);

type Deliver = Arc<dyn Fn(OutboxItem) -> Pending<Result<(), String>> + Send + Sync>;

/// The app's code that delivers the items of a party's rooms, and where it runs.
pub(crate) struct Courier {
    deliver: Deliver,
    runtime: Option<Handle>,
}

impl Courier {
    /// One that runs where this is called.
    pub(crate) fn new<D, E>(deliver: impl Fn(OutboxItem) -> D + Send + Sync + 'static) -> Self
    where
        D: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let deliver: Deliver = Arc::new(move |item| {
            let delivered = deliver(item);
            Box::pin(async move { delivered.await.map_err(|error| error.to_string()) })
        });
        Courier { deliver, runtime: Handle::try_current().ok() }
    }

    pub(crate) fn can_run(&self) -> bool {
        self.runtime.is_some()
    }
}

/// Sends an item on its way. The room stays in memory until there is word of it. A server that stops sends nothing: the item is kept.
pub(crate) fn send(rooms: &Arc<Rooms>, mailbox: &Mailbox, item: OutboxItem) {
    let Some(lease) = rooms.lease(&mailbox.name) else { return };
    let delivery = lease.begin_delivery();
    let OutboxItem { key, tries, .. } = &item;
    let courier = rooms.parties.get(mailbox.name.party()).and_then(|party| party.hooks.outbox.as_ref());
    let Some(Courier { deliver, runtime: Some(runtime) }) = courier else {
        tracing::error!(key, "the party has no on_outbox: the item waits for one");
        return delivery.tell(item.key, false);
    };
    tracing::debug!(key, tries, "an item of the outbox is delivered");
    let (deliver, stops) = (Arc::clone(deliver), rooms.stops());
    runtime.spawn(async move {
        let key = item.key.clone();
        let delivered = timeout(Duration::from_millis(limits::OUTBOX_MS), caught(async { deliver(item).await }));
        let delivered = tokio::select! {
            delivered = delivered => delivered,
            () = async { stops.await; sleep(LAST_CALL).await } => {
                tracing::warn!(key, "the server stops before an item of the outbox is delivered: it comes again");
                return;
            }
        };
        let failure = match delivered {
            Ok(Some(Ok(()))) => None,
            Ok(Some(Err(error))) => Some(error),
            Ok(None) => Some("on_outbox panicked".to_owned()),
            Err(_) => Some("on_outbox took too long".to_owned()),
        };
        if let Some(error) = &failure {
            tracing::warn!(key, error, "an item of the outbox was not delivered");
        }
        delivery.tell(key, failure.is_none());
    });
}
