// The page for people who use a keyboard, a phone, or the dark. The pictures are for looking at.

import { expect, test } from "../support/fixtures.js";

const LONG = "Ask the neighbours whether they can water the tomatoes in August, and where the hose is";
const SIZES = {
  phone: { width: 360, height: 740 },
  desktop: { width: 1024, height: 720 },
};

test("everything can be done by keyboard, and focus never gets lost", async ({ server, join }) => {
  const ann = await join({ url: server.url, room: "home" });
  const { keyboard } = ann.page;
  await expect(ann.field).toBeFocused();
  for (const text of ["Milk", "Bread", "Tea"]) {
    await keyboard.type(text);
    await keyboard.press("Enter");
  }
  await ann.shows("Milk", "Bread", "Tea");
  await expect(ann.field).toBeFocused();

  await keyboard.press("Tab"); // to the Add button
  await keyboard.press("Tab");
  await expect(ann.checkbox("Milk")).toBeFocused();
  await keyboard.press("Space");
  await expect(ann.checkbox("Milk")).toBeChecked();
  await ann.shows("Milk", "Bread", "Tea");
  await expect(ann.checkbox("Milk")).toBeFocused();

  const button = (name) => ann.page.getByRole("button", { name });
  await keyboard.press("Tab");
  await expect(button("Edit Milk")).toBeFocused();
  await expect(button("Edit Milk")).toHaveCSS("outline-style", "solid");
  await keyboard.press("Enter");
  await keyboard.type("Oat milk");
  await keyboard.press("Enter");
  await ann.shows("Oat milk", "Bread", "Tea");
  await expect(button("Edit Oat milk")).toBeFocused();
  await keyboard.press("Enter");
  await keyboard.type("Something else");
  await keyboard.press("Escape");
  await ann.shows("Oat milk", "Bread", "Tea");
  await expect(button("Edit Oat milk")).toBeFocused();

  await keyboard.press("Tab");
  await keyboard.press("Enter"); // deletes; focus goes on to the neighbour's
  await ann.shows("Bread", "Tea");
  await expect(button("Delete Bread")).toBeFocused();
  await keyboard.press("Enter");
  await ann.shows("Tea");
  await expect(button("Delete Tea")).toBeFocused();
  await keyboard.press("Enter");
  await ann.shows();
  await expect(ann.field).toBeFocused();
});

test("P1 a half-typed edit survives what others do", async ({ server, join }) => {
  const ann = await join({ url: server.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });
  await ann.add("Milk");
  await ann.add("Bread");
  await bob.shows("Milk", "Bread");
  await ann.page.getByRole("button", { name: "Edit Bread" }).click();
  const newText = ann.page.getByRole("textbox", { name: "New text" });
  await newText.fill("Rye br");
  await bob.delete("Milk");
  await bob.checkbox("Bread").check();
  await bob.add("Tea");
  await expect(ann.todos).toHaveText(["Bread", "Tea"]);
  await expect(newText).toBeFocused();
  await expect(newText).toHaveValue("Rye br");
  await ann.page.keyboard.type("ead");
  await ann.page.keyboard.press("Enter");
  await bob.shows("Rye bread", "Tea");
  await expect(bob.checkbox("Rye bread")).toBeChecked();
});

for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"]) {
    test(`it fits a ${size} and looks right in the ${colorScheme}`, async ({ cable, join }) => {
      const picture = (name) => ({ path: `screenshots-out/${size}-${colorScheme}-${name}.png`, fullPage: true });
      const ann = await join({ url: cable.url, room: "summer-house", options: { viewport, colorScheme } });
      await ann.shows();
      await ann.page.screenshot(picture("empty"));

      for (const text of ["Buy seeds", LONG, "w".repeat(120), "Paint the fence"]) {
        await ann.add(text);
        await expect(ann.todo(text)).toHaveAttribute("aria-busy", "false");
      }
      await ann.checkbox("Buy seeds").check();
      await ann.add("z".repeat(201));
      await expect(ann.errors).toHaveCount(1);
      await ann.field.fill("");
      await expect(ann.checkbox("Buy seeds")).toBeChecked();
      cable.hold();
      await ann.add("Not yet confirmed");
      await expect(ann.todo("Not yet confirmed")).toHaveCSS("opacity", "0.5");
      await ann.page.screenshot(picture("list"));
      cable.release();

      await cable.pull();
      await ann.isCutOff();
      await ann.page.getByRole("button", { name: "Edit Buy seeds" }).click();
      await ann.page.screenshot(picture("cut-off-editing"));
      await ann.page.keyboard.press("Escape");

      const widths = await ann.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      expect(widths[0], "nothing sticks out at the side").toBeLessThanOrEqual(widths[1]);
    });
  }
}
