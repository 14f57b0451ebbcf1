// Where a node lies in the workflow, and what it is wired to.
import { app } from "../../scripts/app.js";

const SUBGRAPH_INPUT = -10; // origin of links that come from the edge of a subgraph
const [MUTED, BYPASSED] = [2, 4];

export function rootOf(node) {
  return node.graph?.rootGraph ?? node.graph;
}

// All nodes of the workflow, those in subgraphs once.
export function everyNode() {
  const seen = new Set();
  const collect = (graph) => {
    if (!graph || seen.has(graph)) return [];
    seen.add(graph);
    return (graph.nodes ?? []).flatMap((node) => [node, ...collect(node.subgraph)]);
  };
  return collect(app.rootGraph ?? app.graph);
}

// Execution ids as the server uses them: "7", or "12:7" for a node inside subgraph node 12, one for each instance.
export function executionIds(node) {
  const root = rootOf(node);
  return root ? prefixes(root, node.graph, "").map((prefix) => `${prefix}${node.id}`) : [];
}

function prefixes(graph, wanted, prefix) {
  const found = graph === wanted ? [prefix] : [];
  for (const child of graph.nodes ?? []) {
    if (child.subgraph) found.push(...prefixes(child.subgraph, wanted, `${prefix}${child.id}:`));
  }
  return found;
}

// The nearest node that ``matches`` on the way up along inputs of one type, through reroutes and bypassed nodes, into and out
// of subgraphs.
export function upstream(node, type, matches) {
  const seen = new Set();
  let at = node;
  while (at && !seen.has(at)) {
    seen.add(at);
    const input = at.inputs?.find((input) => input.link != null && (input.type === type || input.type === "*"));
    at = input && sourceOf(at.graph, input.link);
    if (at?.mode === MUTED) return undefined;
    if (at && at.mode !== BYPASSED && matches(at)) return at;
  }
  return undefined;
}

function sourceOf(graph, linkId) {
  const link = graph?.getLink?.(linkId) ?? graph?.links?.get?.(linkId) ?? graph?.links?.[linkId];
  if (!link) return undefined;
  if (link.origin_id === SUBGRAPH_INPUT) {
    const instances = everyNode().filter((node) => node.subgraph === graph);
    const outer = instances.length === 1 ? instances[0] : undefined; // several may be wired to different things
    const outerLink = outer?.inputs?.[link.origin_slot]?.link;
    return outerLink == null ? undefined : sourceOf(outer.graph, outerLink);
  }
  const source = graph.getNodeById(link.origin_id);
  const inner = source?.subgraph?.outputs?.[link.origin_slot]?.linkIds?.[0];
  return inner == null ? source : sourceOf(source.subgraph, inner);
}
