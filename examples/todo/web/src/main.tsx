import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./App";
import { roomName } from "./room";
import "./style.css";

document.title = `${roomName} · Todos`;

// The page opens without its server, too. Browsers have this on pages with TLS, and on this machine.
if (import.meta.env.PROD) void navigator.serviceWorker?.register("/service-worker.js");

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
