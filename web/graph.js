// @ts-check
// Where a node is in the workflow, and what it is wired to.
import { app } from "../../scripts/app.js";

/** @import { Graph, GraphNode, Input } from "../../scripts/app.js" */

const SUBGRAPH_INPUT = -10; // origin of links that come from the edge of a subgraph
const [MUTED, BYPASSED] = [2, 4];

/** @param {GraphNode} node */
export function rootOf(node) {
  return node.graph?.rootGraph ?? node.graph;
}

/**
 * All nodes of the workflow, those in subgraphs once.
 * @returns {GraphNode[]}
 */
export function everyNode() {
  /** @type {Set<Graph>} */
  const graphs = new Set([app.rootGraph ?? app.graph]);
  const found = [];
  for (const graph of graphs) {
    for (const node of graph.nodes ?? []) {
      found.push(node);
      if (node.subgraph) graphs.add(node.subgraph); // a set also goes through what is added on the way
    }
  }
  return found;
}

/**
 * Execution ids as the server uses them: "7", or "12:7" for a node inside subgraph node 12, one for each instance.
 * @param {GraphNode} node
 */
export function executionIds(node) {
  const root = rootOf(node);
  return root ? prefixes(root, node.graph, "").map((prefix) => `${prefix}${node.id}`) : [];
}

/**
 * @param {Graph} graph
 * @param {Graph | null | undefined} wanted
 * @param {string} prefix
 * @returns {string[]}
 */
function prefixes(graph, wanted, prefix) {
  const found = graph === wanted ? [prefix] : [];
  for (const child of graph.nodes ?? []) {
    if (child.subgraph) found.push(...prefixes(child.subgraph, wanted, `${prefix}${child.id}:`));
  }
  return found;
}

/**
 * Whether an input gets its value over a link, which nobody can know before a run.
 * @param {GraphNode | undefined} node
 * @param {string} name
 */
export function isWired(node, name) {
  return Boolean(node?.inputs?.some((input) => input.name === name && input.link != null));
}

/**
 * The value of a widget; undefined where there is none, or where it is wired in.
 * @param {GraphNode | undefined} node
 * @param {string} name
 */
export function valueOf(node, name) {
  return isWired(node, name) ? undefined : node?.widgets?.find((widget) => widget.name === name)?.value;
}

/**
 * The nearest node that `matches` on the way up along inputs of one type, through reroutes and bypassed nodes, into and out of
 * subgraphs.
 * @param {GraphNode} node
 * @param {string} type
 * @param {(found: GraphNode) => boolean} matches
 */
export function upstream(node, type, matches) {
  const seen = new Set();
  /** @type {GraphNode | undefined} */
  let at = node;
  while (at && !seen.has(at)) {
    seen.add(at);
    /** @type {Input | undefined} */
    const wired = at.inputs?.find((input) => input.link != null && (input.type === type || input.type === "*"));
    at = sourceOf(at.graph, wired?.link);
    if (at?.mode === MUTED) return undefined;
    if (at && at.mode !== BYPASSED && matches(at)) return at;
  }
  return undefined;
}

/**
 * The Caption Concept Images whose concept a node gets.
 * @param {GraphNode} node
 */
export function captionOf(node) {
  return upstream(node, "CNS_CONCEPT", ({ comfyClass }) => comfyClass === "CNS_CaptionConceptImages");
}

/**
 * @param {Graph | null | undefined} graph
 * @param {number | null | undefined} linkId
 * @returns {GraphNode | undefined}
 */
function sourceOf(graph, linkId) {
  const link = graph && linkId != null ? linkOf(graph, linkId) : undefined;
  if (!graph || !link) return undefined;
  if (link.origin_id === SUBGRAPH_INPUT) {
    const instances = everyNode().filter((node) => node.subgraph === graph);
    const outer = instances.length === 1 ? instances[0] : undefined; // several may be wired to different things
    return sourceOf(outer?.graph, outer?.inputs?.[link.origin_slot]?.link);
  }
  const source = graph.getNodeById(link.origin_id) ?? undefined;
  const inner = source?.subgraph?.outputs?.[link.origin_slot]?.linkIds?.[0];
  return inner == null ? source : sourceOf(source?.subgraph, inner);
}

/**
 * @param {Graph} graph
 * @param {number} id
 */
export function linkOf(graph, id) {
  if (graph.getLink) return graph.getLink(id);
  return graph.links instanceof Map ? graph.links.get(id) : graph.links?.[id];
}
