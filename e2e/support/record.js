// Records what a page shows: every frame's todos, and every task that keeps it busy for long.

/** From now on, what the list shows after each change of the document and in each frame: its texts, ticked ones with a +. Told once a change. */
export function recordFrames(page) {
  return page.evaluate(() => {
    window.seen = [];
    const look = () => {
      const rows = [...document.querySelectorAll("li[data-id]")].map((item) => {
        const text = item.querySelector(".text")?.textContent ?? item.querySelector("[name=text]").value;
        return `${text}${item.querySelector("[name=completed]")?.checked ? "+" : ""}`;
      });
      const shown = rows.join(" ");
      if (shown !== window.seen.at(-1)) window.seen.push(shown);
    };
    const everyFrame = () => {
      look();
      requestAnimationFrame(everyFrame);
    };
    everyFrame();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
}

export function framesSeen(page) {
  return page.evaluate(() => window.seen.splice(0, window.seen.length - 1));
}

const MAIN_THREAD = "CrRendererMain";
const TASK = "ThreadControllerImpl::RunTask";
/** From here on people feel it, and PerformanceObserver tells of it as a `longtask`. */
export const LONG_MS = 50;

/**
 * The long tasks of a page while something runs: how long each took, and how long the processor worked for it. The one without the other is a machine that
 * had something else to do.
 */
export async function longTasks(browser, page, run) {
  await page.evaluate(() => {
    window.longTasks = [];
    window.taskObserver = new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration)));
    window.taskObserver.observe({ type: "longtask" });
  });
  await browser.startTracing(page, { categories: ["toplevel"] });
  await run();
  const observed = await page.evaluate(() => {
    window.taskObserver.disconnect();
    return window.longTasks;
  });
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const threads = traceEvents.filter((event) => event.name === "thread_name" && event.args.name === MAIN_THREAD);
  const isMain = (event) => threads.some(({ pid, tid }) => pid === event.pid && tid === event.tid);
  const tasks = traceEvents.filter((event) => event.name === TASK && isMain(event));
  return { observed, processor: tasks.map(({ tdur }) => Math.round(tdur / 1000)).filter((ms) => ms > LONG_MS), tasks: tasks.length };
}
