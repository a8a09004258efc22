// The shared worker of all tabs of a browser, which allows six connections to a host: with one
// stream for each tab, the seventh tab would never load.
import { makeBroadcaster } from "./event-broadcaster.js";

const broadcaster = makeBroadcaster();

onconnect = ({ ports: [port] }) => {
  const watch = (event) => port.postMessage(event);
  port.onmessage = ({ data: isSeen }) => (isSeen ? broadcaster.add(watch) : broadcaster.remove(watch));
  // Browsers that have this event send it when a tab crashed.
  port.onclose = () => broadcaster.remove(watch);
};
