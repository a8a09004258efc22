// The server-sent events as a tab gets them: from the worker that all tabs share, while it is seen.
import { makeBroadcaster } from "./event-broadcaster.js";

// Chrome on Android has no shared worker, and a phone shows one tab.
function connect(receive) {
  if (!("SharedWorker" in window)) {
    const broadcaster = makeBroadcaster();
    return (isSeen) => (isSeen ? broadcaster.add(receive) : broadcaster.remove(receive));
  }
  const { port } = new SharedWorker("/static/event-worker.js", { type: "module" });
  port.onmessage = ({ data }) => receive(data);
  return (isSeen) => port.postMessage(isSeen);
}

// Calls `receive` with { name, data, at } while the tab is seen; `onSeen` each time it becomes so.
export function listen(receive, onSeen) {
  const watch = connect(receive);
  const follow = () => {
    const isSeen = document.visibilityState === "visible";
    if (isSeen) onSeen();
    watch(isSeen);
  };
  document.addEventListener("visibilitychange", follow);
  // A tab that comes back by the browser's history was left without becoming hidden.
  addEventListener("pageshow", follow);
  addEventListener("pagehide", () => watch(false));
}
