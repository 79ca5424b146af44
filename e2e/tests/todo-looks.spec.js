// Pictures of the todo example in screenshots-out, for people to look at; and what can be measured of its looks.

import { expect, test } from "../support/todo.js";

const SIZES = { desktop: { width: 1000, height: 760 }, phone: { width: 375, height: 740 } };
const LONG = "Ask everybody who came last year whether they come again, and whether they bring the big tent or only sleeping bags";

for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"]) {
    test(`${size}, ${colorScheme}`, async ({ cable, join }) => {
      const picture = (name) => ({ path: `screenshots-out/todo-${size}-${colorScheme}-${name}.png` });
      const ann = await join({ url: cable.url, room: "summer-house", options: { viewport, colorScheme } });
      await ann.shows();
      await ann.page.screenshot(picture("empty"));
      for (const text of ["Buy seeds", LONG, "w".repeat(90), "Paint the fence"]) await ann.add(text);
      await ann.checkbox("Buy seeds").check();
      await ann.isLive();
      await ann.add("z".repeat(201));
      await expect(ann.problems).toHaveCount(1);
      await ann.field.fill("");
      cable.hold();
      await ann.add("Not yet confirmed");
      await expect(ann.todo("Not yet confirmed").locator("label")).toHaveCSS("opacity", "0.5");
      await ann.page.screenshot(picture("list"));
      cable.release();
      await ann.isLive();
      await cable.pull();
      await ann.isOffline();
      await ann.delete("Paint the fence");
      await ann.button("Dismiss").click();
      await ann.button("Edit Buy seeds").click();
      await ann.page.screenshot(picture("offline-editing"));
      await ann.page.keyboard.press("Escape");

      const [width, inner] = await ann.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      expect(width, "nothing sticks out at the side").toBeLessThanOrEqual(inner);
      for (const button of await ann.page.getByRole("button").all()) {
        const box = await button.boundingBox();
        if ((await button.textContent()) !== "Clear local data") expect(box.height, "fingers hit it").toBeGreaterThanOrEqual(44);
      }
    });
  }
}

test("who wants less motion gets none", async ({ server, join }) => {
  const ann = await join({ url: server.url, options: { reducedMotion: "reduce" } });
  await ann.add("Milk");
  await expect(ann.todo("Milk").locator("label")).toHaveCSS("transition-duration", "0s");
});
