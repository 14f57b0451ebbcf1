// @ts-check
// What nodes show: the server tells every page, and a page that is opened, reloaded or reconnected asks for all of it.
import { api } from "../../scripts/api.js";
import { LIVE_EVENT, LIVE_ROUTE } from "./events.js";
import { executionIds, rootOf } from "./graph.js";
import { extended } from "./training.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @import { Training } from "./training.js"
 * @import { State } from "./state_panel.js"
 * @typedef {{ number: number, node: string | null, workflow: string | null, client: string | null }} Place
 * @typedef {Place & Training & { kind: "training" }} LiveTraining
 * @typedef {Place & { kind: "state", state: State }} LiveState
 * @typedef {LiveTraining | LiveState} Live
 */

/** @type {Map<string, Live>} the newest of each kind for each node */
const newest = new Map();
/** @type {Live[] | undefined} messages that arrive while the server's answer is under way, which may be older than they are */
let waiting;

/**
 * Calls `changed` after every change from now on.
 * @param {() => void} changed
 */
export function followServer(changed) {
  /** @param {Live[]} messages */
  const receive = (messages) => {
    if (!messages.map(add).every(Boolean)) load();
    changed();
  };
  async function load() {
    if (waiting) return;
    waiting = [];
    /** @type {Live[] | undefined} undefined where the server is gone: the page asks again once it is back */
    const all = await api.fetchApi(LIVE_ROUTE).then((answer) => (answer.ok ? answer.json() : undefined)).catch(() => undefined);
    const late = waiting;
    waiting = undefined;
    if (all) stopLost(all);
    receive([...(all ?? []), ...late]);
  }
  api.addEventListener(LIVE_EVENT, ({ detail }) => (waiting ? waiting.push(detail) : receive([detail])));
  api.addEventListener("reconnected", load);
  load();
}

/**
 * The training of a node, which has one execution id for each instance of the subgraph it is in.
 * @param {GraphNode} node
 */
export function trainingOf(node) {
  return /** @type {LiveTraining | undefined} */ (newestOf("training", node));
}

/** @param {GraphNode} node */
export function stateOfRun(node) {
  return /** @type {LiveState | undefined} */ (newestOf("state", node))?.state;
}

/**
 * What has become of a training that was shown before, whatever its workflow is called now.
 * @param {LiveTraining} training
 */
export function current(training) {
  return /** @type {LiveTraining} */ (newest.get(keyOf(training)) ?? training);
}

/**
 * One that was queued without its workflow belongs to the page that queued it.
 * @param {Live["kind"]} kind
 * @param {GraphNode} node
 */
function newestOf(kind, node) {
  const [workflow, client] = [rootOf(node)?.id ?? null, api.clientId];
  const keys = executionIds(node).flatMap((id) => [
    keyOf({ kind, node: id, workflow, client }),
    keyOf({ kind, node: id, workflow: null, client }),
  ]);
  const found = keys.flatMap((key) => newest.get(key) ?? []);
  return found.toSorted((a, b) => b.number - a.number)[0];
}

/** @param {Pick<Live, "kind" | "node" | "workflow" | "client">} live */
function keyOf({ kind, node, workflow, client }) {
  return [kind, workflow ?? client, node].join(" ");
}

/**
 * False where something before the message is missing.
 * @param {Live} message
 */
function add(message) {
  const key = keyOf(message);
  const known = newest.get(key);
  if (known && known.number > message.number) return true;
  const before = known?.kind === "training" && known.number === message.number ? known : undefined;
  const now = message.kind === "training" ? extended(before, message) : message;
  if (now) newest.set(key, now);
  return Boolean(now);
}

/**
 * A training that the server no longer knows went down with it.
 * @param {Live[]} all what the server knows
 */
function stopLost(all) {
  const known = new Set(all.map(({ number }) => number));
  for (const [key, live] of newest) {
    if (live.kind === "training" && live.progress === "running" && !known.has(live.number)) {
      newest.set(key, { ...live, progress: "stopped" });
    }
  }
}
