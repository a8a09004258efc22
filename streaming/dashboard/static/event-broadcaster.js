// One stream of server-sent events for any number of watchers; open only while one watches.
const NAMES = ["now", "status", "trouble"];
const REOPEN_MILLISECONDS = 5_000;

// A watcher is called with { name, data, at }: the event, its text, and when it came (epoch ms).
export function makeBroadcaster() {
  const watchers = new Set(),
    latest = new Map();
  let source = null,
    reopening;

  function publish(name, data) {
    const event = { name, data, at: Date.now() };
    latest.set(name, event);
    // Who begins to watch later must not see trouble that is over.
    if (name === "now") latest.delete("trouble");
    for (const watch of watchers) watch(event);
  }

  // A browser connects again by itself, but not after an answer such as 502 or 429.
  function reopenIfRefused() {
    if (source.readyState === EventSource.CLOSED) reopening = setTimeout(open, REOPEN_MILLISECONDS);
  }

  function open() {
    source = new EventSource("/events");
    for (const name of NAMES)
      source.addEventListener(name, (event) => publish(name, event.data));
    source.onerror = reopenIfRefused;
  }

  function close() {
    clearTimeout(reopening);
    source.close();
    latest.clear();
  }

  return {
    add(watch) {
      if (watchers.has(watch)) return;
      watchers.add(watch);
      if (watchers.size === 1) open();
      else latest.forEach((event) => watch(event));
    },
    remove(watch) {
      if (watchers.delete(watch) && !watchers.size) close();
    },
  };
}
