import { createRoot } from "react-dom/client";

import { App } from "./App";

const query = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no root");
createRoot(root).render(<App host={query.get("host") ?? location.host} room={query.get("room") ?? "lobby"} />);
