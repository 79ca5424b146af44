// An unmodified front end of version 1, as its users have it, against our server.

import { RawClient, expect, test } from "../support/v1-react.js";

const create = (id, text) => ({ type: "create", payload: { id, text, completed: 0 } });

test("P10 two tabs see each other's changes", async ({ server, open }) => {
  const ann = await open({ at: server });
  const bob = await open({ at: server, context: ann.page.context() });
  await ann.add("Milk");
  await bob.shows("Milk");
  await bob.add("Bread");
  await ann.shows("Milk", "Bread");
  await bob.checkbox("Milk").click();
  await expect(ann.checkbox("Milk")).toBeChecked();
  await ann.delete("Milk");
  await bob.shows("Bread");
  await ann.shows("Bread");
});

test("P10 an optimistic row is there at once, and once when it is confirmed", async ({ cable, open }) => {
  const ann = await open({ at: cable });
  await ann.add("Milk");
  await ann.shows("Milk");
  cable.hold();
  await ann.add("Bread");
  await ann.shows("Milk", "Bread");
  cable.release();
  // Answers come in order: with the last one shown, that to Bread is here too.
  await ann.add("Tea");
  await ann.shows("Milk", "Bread", "Tea");
  await ann.page.reload();
  await ann.shows("Milk", "Bread", "Tea");
});

test("P10 a rejected action goes from the screen and shows its text", async ({ server, open }) => {
  const ann = await open({ at: server });
  await ann.add("Milk");
  await ann.add("   ");
  await expect(ann.errors).toHaveText(["Write something first."]);
  await ann.add("x".repeat(201));
  await expect(ann.errors).toHaveText(["Write something first.", "A todo may have at most 200 characters."]);
  await ann.shows("Milk");
});

test("P10 a reloaded page shows what was deleted, changed and added while it was closed", async ({ server, open }) => {
  const ann = await open({ at: server });
  const raw = await RawClient.to(server);
  await raw.create("a", "Milk");
  await raw.create("b", "Bread");
  await ann.page.reload();
  await ann.shows("Milk", "Bread");
  const url = ann.page.url();
  await ann.page.goto("about:blank");
  await raw.delete("a");
  await raw.run({ type: "update", payload: { id: "b", text: "Rye bread", completed: 1 } });
  await raw.create("c", "Tea");
  await ann.page.goto(url);
  await ann.shows("Rye bread", "Tea");
  await ann.page.reload();
  await ann.shows("Rye bread", "Tea");
  expect(await ann.rows()).toEqual(await raw.rows());
  raw.close();
});

test("P10 what was sent while the socket was cut is run once, and the queue in order", async ({ server, cable, open }) => {
  const ann = await open({ at: cable });
  await ann.add("Milk");
  await ann.shows("Milk");
  await cable.pull();
  await ann.isCutOff();
  await ann.send(
    create("b", "Bread"),
    create("c", "Tea"),
    { type: "update", payload: { id: "c", text: "Green tea", completed: 1 } },
    { type: "delete", payload: { id: "b" } },
  );
  await ann.shows("Milk", "Green tea");
  await cable.plug();
  await ann.isConnected();
  const raw = await RawClient.to(server);
  await expect.poll(() => raw.rows()).toHaveLength(2);
  expect(await raw.rows()).toEqual(expect.arrayContaining([["c", "Green tea", 1]]));
  await ann.shows("Milk", "Green tea");
  await expect(ann.errors).toHaveCount(0); // A second create would have been refused.
  raw.close();
});

test("P10 a storm of 200 actions is shown to sender and watcher, each once", async ({ server, open }) => {
  const ann = await open({ at: server });
  const bob = await open({ at: server });
  const ids = Array.from({ length: 200 }, (_, index) => `todo-${index}`);
  await ann.send(...ids.map((id) => create(id, `Text of ${id}`)));
  const raw = await RawClient.to(server);
  await expect.poll(() => raw.rows(), { timeout: 30_000 }).toHaveLength(200);
  const rows = await raw.rows();
  await expect.poll(() => bob.rows(), { timeout: 30_000 }).toEqual(rows);
  await expect.poll(() => ann.rows(), { timeout: 30_000 }).toEqual(rows);
  await expect(ann.errors).toHaveCount(0);
  raw.close();
});
