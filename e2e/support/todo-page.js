// The todo page as a person meets it: by roles and names, so that what is tested is also accessible.

import { expect } from "@playwright/test";

export class TodoPage {
  constructor(page) {
    this.page = page;
    this.field = page.getByLabel("What needs doing?");
    this.todos = page.getByRole("list", { name: "Todos", includeHidden: true }).getByRole("listitem");
    this.errors = page.getByRole("list", { name: "Errors", includeHidden: true }).getByRole("listitem");
    this.status = page.getByRole("status");
  }

  async open(url, room) {
    const query = room === undefined ? "" : `?room=${encodeURIComponent(room)}`;
    await this.page.goto(`${url}/${query}`);
    await this.isLive();
  }

  isLive() {
    return expect(this.status).toHaveText("Live");
  }

  isCutOff() {
    return expect(this.status).toHaveText("Reconnecting…");
  }

  /** The texts on the page are these, in this order, and the server has confirmed each. */
  async shows(...texts) {
    await expect(this.todos).toHaveText(texts);
    await expect(this.page.locator("[aria-busy=true]")).toHaveCount(0);
  }

  todo(text) {
    return this.todos.filter({ hasText: text });
  }

  checkbox(text) {
    return this.page.getByRole("checkbox", { name: text, exact: true });
  }

  async add(text) {
    await this.field.fill(text);
    await this.page.getByRole("button", { name: "Add", exact: true }).click();
  }

  async delete(text) {
    await this.page.getByRole("button", { name: `Delete ${text}`, exact: true }).click();
  }

  async edit(text, to) {
    await this.page.getByRole("button", { name: `Edit ${text}`, exact: true }).click();
    await this.page.getByRole("textbox", { name: "New text" }).fill(to);
    await this.page.keyboard.press("Enter");
  }
}
