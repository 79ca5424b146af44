// The page: draws the room and turns what a person does into its actions. Text reaches the document
// through textContent and value alone, never as HTML: it was written by strangers.

import { Room } from "./room.js";

const DEFAULT_ROOM = "lobby";
const MAX_TROUBLES = 3;
const STATUS_WORDS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };

const byId = (id) => document.getElementById(id);
const addInput = byId("add-input");
const list = byId("todos");
const items = new Map(); // by todo id
let wasLive = false;

const roomName = readRoomName();
const room = new Room({
  host: location.host,
  secure: location.protocol === "https:",
  room: roomName,
  onChange: draw,
  onTrouble: showTrouble,
});

document.title = `${roomName} · Todos`;
byId("room-name").textContent = roomName;
byId("room-input").value = roomName;
byId("add-form").addEventListener("submit", add);
byId("copy-link").addEventListener("click", copyLink);
// After the network went and came back a socket may be dead for minutes before anybody notices.
window.addEventListener("online", () => room.refresh());
draw();

function readRoomName() {
  const name = new URLSearchParams(location.search).get("room")?.trim();
  // "." and ".." would be resolved away as parts of the socket's path.
  return !name || name === "." || name === ".." ? DEFAULT_ROOM : name;
}

function add(event) {
  event.preventDefault();
  // What a text must be is the server's rule alone, so that there are never two that differ.
  room.create(addInput.value.trim());
  addInput.value = "";
  addInput.focus();
}

async function copyLink() {
  const link = new URL(`/?room=${encodeURIComponent(roomName)}`, location.origin).href;
  const button = byId("copy-link");
  try {
    await navigator.clipboard.writeText(link);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  } catch {
    // No clipboard without a secure context or the person's leave: let them copy it by hand.
    window.prompt("The link to this room:", link);
  }
}

function draw() {
  const todos = room.todos();
  wasLive ||= room.status === "live";
  drawStatus();
  drawList(todos);
  const left = todos.filter((todo) => !todo.completed && !todo.leaving).length;
  byId("left").textContent = todos.length === 0 ? "" : `${left} of ${todos.length} left`;
  byId("empty").hidden = todos.length > 0;
  byId("empty").textContent = wasLive ? "Nothing to do yet. Add the first thing above." : "Loading…";
}

function drawStatus() {
  const status = byId("status");
  // Written only when it changes: writing a live region again may be read out again.
  if (status.textContent !== STATUS_WORDS[room.status]) status.textContent = STATUS_WORDS[room.status];
  status.dataset.status = room.status;
}

/** Keeps the elements of rows that stay where they are, and so their focus and half-typed edits. */
function drawList(todos) {
  const ids = new Set(todos.map((todo) => todo.id));
  for (const [id, item] of items) if (!ids.has(id)) removeItem(id, item);

  let place = list.firstElementChild;
  for (const todo of todos) {
    const item = items.get(todo.id) ?? newItem();
    items.set(todo.id, item);
    item.draw(todo);
    if (item.element === place) place = place.nextElementSibling;
    else list.insertBefore(item.element, place);
  }
}

function removeItem(id, { element }) {
  if (element.contains(document.activeElement)) {
    // Somebody working through the list by keyboard goes on with a neighbour, not from the top.
    const neighbour = element.nextElementSibling ?? element.previousElementSibling;
    (neighbour?.querySelector('[data-do="delete"]') ?? addInput).focus();
  }
  element.remove();
  items.delete(id);
}

function newItem() {
  const element = byId("todo-template").content.firstElementChild.cloneNode(true);
  const label = element.querySelector(".todo-label");
  const checkbox = label.querySelector("input");
  const text = label.querySelector(".todo-text");
  const form = element.querySelector(".todo-edit");
  const input = form.querySelector("input");
  const editButton = element.querySelector('[data-do="edit"]');
  const deleteButton = element.querySelector('[data-do="delete"]');
  let todo;

  function startEdit() {
    input.value = todo.text;
    showEdit(true);
    input.select();
  }

  function finishEdit({ save }) {
    if (form.hidden) return; // Hiding the field takes its focus, which ends the edit a second time.
    const changed = input.value.trim();
    const hadFocus = element.contains(document.activeElement);
    showEdit(false);
    if (hadFocus) editButton.focus();
    if (save && changed !== todo.text) room.update({ ...todo, text: changed });
  }

  function showEdit(editing) {
    form.hidden = !editing;
    label.hidden = editing;
    editButton.hidden = editing;
  }

  checkbox.addEventListener("change", () => {
    if (todo.leaving) checkbox.checked = Boolean(todo.completed);
    else room.update({ ...todo, completed: checkbox.checked ? 1 : 0 });
  });
  editButton.addEventListener("click", () => todo.leaving || startEdit());
  deleteButton.addEventListener("click", () => todo.leaving || room.delete(todo));
  input.addEventListener("blur", () => finishEdit({ save: true }));
  input.addEventListener("keydown", (event) => event.key === "Escape" && finishEdit({ save: false }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    finishEdit({ save: true });
  });

  return {
    element,
    draw(next) {
      todo = next;
      text.textContent = todo.text;
      checkbox.checked = Boolean(todo.completed);
      editButton.setAttribute("aria-label", `Edit ${todo.text}`);
      deleteButton.setAttribute("aria-label", `Delete ${todo.text}`);
      element.ariaBusy = todo.pending;
      element.classList.toggle("completed", Boolean(todo.completed));
      element.classList.toggle("leaving", todo.leaving);
    },
  };
}

function showTrouble(reason, action) {
  const element = byId("trouble-template").content.firstElementChild.cloneNode(true);
  element.querySelector("span").textContent = action ? `${whatFailed(action)}: ${reason}` : reason;
  element.querySelector("button").addEventListener("click", () => {
    element.remove();
    addInput.focus();
  });
  const troubles = byId("troubles");
  troubles.append(element);
  while (troubles.children.length > MAX_TROUBLES) troubles.firstElementChild.remove();
  giveBack(action);
}

function whatFailed({ type, payload }) {
  const text = payload.text ?? room.todos().find((todo) => todo.id === payload.id)?.text ?? "";
  const name = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  const verb = { create: "added", update: "changed", delete: "deleted" }[type];
  return name === "" ? `Not ${verb}` : `“${name}” was not ${verb}`;
}

/** What was typed and refused goes back into the field, unless the person is typing the next already. */
function giveBack(action) {
  if (action?.type === "create" && addInput.value === "") addInput.value = action.payload.text;
}
