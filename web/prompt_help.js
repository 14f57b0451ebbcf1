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
const STORES = ["CNS_LoadState", "CNS_TeachFolder"]; // no wire says which concepts these have
const SOURCES = new Set([...STORES, "CNS_TrainStep", "CNS_RemoveConcept"]);
const BESIDE = 4; // words between a token and its noun, at most
const HEIGHT = 34; // pixels: two lines

/** @type {WeakMap<GraphNode, HTMLElement>} */
const helps = new WeakMap();

/** @param {GraphNode} node */
export function checkPrompt(node) {
  if (!node.inputs?.some((input) => input.type === "CLIP")) return;
  const text = valueOf(node, "text");
  const concepts = typeof text === "string" ? conceptsBehind(node, text) : undefined;
  show(node, concepts ? complaint(String(text), concepts) : "");
}

/**
 * What the Apply CNS State knows that this node's CLIP comes from; undefined where nobody can say before a run.
 * @param {GraphNode} node
 * @param {string} text its prompt
 * @returns {Known[] | undefined}
 */
function conceptsBehind(node, text) {
  const apply = upstream(node, "CLIP", (found) => ["CNS_ApplyState", "CNS_TeachFolder"].includes(found.comfyClass ?? ""));
  if (apply?.comfyClass === "CNS_TeachFolder") {
    const taught = stateOf(apply)?.concepts; // a folder that was added since then is given a token of this kind
    return taught && [...text.matchAll(/<new\d+>/gi)].map(([token]) => /** @type {Known} */ ({ token })).concat(taught);
  }
  const source = apply && sourceOfState(apply);
  return source ? conceptsOf(source) : apply && stateOf(apply)?.concepts;
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
 */
function complaint(prompt, concepts) {
  const known = new Map(concepts.map((concept) => [concept.token.toLowerCase(), concept]));
  for (const { 0: token, index } of prompt.matchAll(TOKEN)) {
    const noun = known.get(token.toLowerCase())?.noun;
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
