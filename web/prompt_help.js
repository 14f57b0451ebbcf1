// @ts-check
// Looks over prompts that go through Apply CNS State: are their tokens known, and is each beside its class noun?
import { captionOf, isWired, upstream, valueOf } from "./graph.js";
import { addPanel, make, makeRoom } from "./node_tools.js";
import { stateOf } from "./state_panel.js";
import { say } from "./strings.js";
import { hasNoun, wordsOf } from "./words.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @typedef {{ token: string, noun?: string }} Known `noun` is left out where it cannot be known before a run
 */

const TOKEN = /<[^\s<>():\\,{}|/]+>/g;
const NEXT = /^<new\d+>$/i; // what a folder that was added since the last run is given
const TEACH = "CNS_TeachFolder";
const STORES = ["CNS_LoadState", TEACH]; // no wire says which concepts these have
const SOURCES = new Set([...STORES, "CNS_TrainStep", "CNS_RemoveConcept"]);
const BESIDE = 4; // words between a token and its noun, at most
const HEIGHT = 34; // pixels: two lines

/** @type {WeakMap<GraphNode, HTMLElement>} */
const helps = new WeakMap();

/** @param {GraphNode} node */
export function checkPrompt(node) {
  if (!node.inputs?.some((input) => input.type === "CLIP")) return;
  const text = valueOf(node, "text");
  const known = (/** @type {GraphNode} */ found) => ["CNS_ApplyState", TEACH].includes(found.comfyClass ?? "");
  const apply = typeof text === "string" ? upstream(node, "CLIP", known) : undefined;
  const concepts = apply && knownTo(apply);
  show(node, concepts ? complaint(String(text), concepts, apply.comfyClass === TEACH) : "");
}

/**
 * What a node that knows tokens will know in the next run; undefined where nobody can say before it.
 * @param {GraphNode} apply
 * @returns {Known[] | undefined}
 */
function knownTo(apply) {
  const source = apply.comfyClass === TEACH ? undefined : sourceOfState(apply);
  return source ? conceptsOf(source) : stateOf(apply)?.concepts;
}

/** @param {GraphNode} node */
function sourceOfState(node) {
  return upstream(node, "CNS_STATE", ({ comfyClass }) => SOURCES.has(comfyClass ?? ""));
}

/**
 * A training adds the concept that is wired into it, whether it has run yet or not; a removal takes one away. Half-way through
 * an edit a training's state may lead back to itself.
 * @param {GraphNode} source
 * @param {Set<GraphNode>} [seen]
 * @returns {Known[] | undefined}
 */
function conceptsOf(source, seen = new Set()) {
  if (STORES.includes(source.comfyClass ?? "")) return stateOf(source)?.concepts;
  if (seen.has(source)) return undefined;
  seen.add(source);
  const before = sourceOfState(source);
  if (source.comfyClass === "CNS_RemoveConcept") return before && without(conceptsOf(before, seen), valueOf(source, "token"));
  const first = !isWired(source, "previous_state");
  const earlier = before ? conceptsOf(before, seen) : first ? [] : undefined;
  const caption = captionOf(source);
  const [token, noun] = [valueOf(caption, "token"), valueOf(caption, "noun")];
  if (!earlier || typeof token !== "string" || !token) return undefined;
  const learned = stateOf(source)?.concepts.find((concept) => concept.token === token);
  return [...earlier, { token, noun: typeof noun === "string" ? noun : learned?.noun }];
}

/**
 * @param {Known[] | undefined} concepts
 * @param {unknown} token undefined where it is wired in
 */
function without(concepts, token) {
  if (typeof token !== "string") return undefined;
  return concepts?.filter((concept) => concept.token.toLowerCase() !== token.trim().toLowerCase());
}

/**
 * @param {string} prompt
 * @param {Known[]} concepts
 * @param {boolean} grows whether the next run may add to them
 */
function complaint(prompt, concepts, grows) {
  const known = new Map(concepts.map((concept) => [concept.token.toLowerCase(), concept]));
  for (const { 0: token, index } of prompt.matchAll(TOKEN)) {
    const noun = known.get(token.toLowerCase())?.noun;
    if (grows && !noun && NEXT.test(token)) continue;
    if (!known.size) return say("unknownTokenEmpty", { token });
    if (!known.has(token.toLowerCase())) return say("unknownToken", { token, known: [...known.keys()].join(", ") });
    if (noun && !isBeside(prompt, index, token, noun)) return say("noun", { token, noun });
  }
  return "";
}

/**
 * @param {string} prompt
 * @param {number} index of the token
 * @param {string} token
 * @param {string} noun
 */
function isBeside(prompt, index, token, noun) {
  const reach = BESIDE + wordsOf(noun).length;
  const near = [wordsOf(prompt.slice(0, index)).slice(-reach), wordsOf(prompt.slice(index + token.length)).slice(0, reach)];
  return near.some((words) => hasNoun(words, noun)); // two <new1> dogs
}

/**
 * @param {GraphNode} node
 * @param {string} message
 */
function show(node, message) {
  let help = helps.get(node);
  if (!message && !help) return;
  if (!help) helps.set(node, (help = build(node)));
  if (help.textContent === message) return;
  help.textContent = message;
  help.hidden = !message;
  makeRoom(node);
}

/** @param {GraphNode} node */
function build(node) {
  const element = make("div", "cns-prompt-help", { role: "status" });
  addPanel(node, "cns_prompt_help", element, () => (element.textContent ? HEIGHT : 0));
  return element;
}
