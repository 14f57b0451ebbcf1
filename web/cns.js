// @ts-check
// What the pack adds to the editor.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { foldAdvanced } from "./fold_advanced.js";
import { everyNode } from "./graph.js";
import { followServer } from "./live.js";
import { make } from "./node_tools.js";
import { checkPrompt } from "./prompt_help.js";
import { onRefresh, refresh } from "./refresh.js";
import { followFile } from "./state_files.js";
import { addStatePanel, updateStatePanel } from "./state_panel.js";
import { addChart, updateChart } from "./training_chart.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @type {Record<string, ((node: GraphNode) => void)[]>}
 */
const ADDED = {
  CNS_TrainStep: [addChart, addStatePanel],
  CNS_TeachFolder: [addChart, addStatePanel],
  CNS_LoadState: [addStatePanel, followFile],
  CNS_ApplyState: [addStatePanel],
  CNS_InspectState: [addStatePanel],
  CNS_RemoveConcept: [addStatePanel],
};

app.registerExtension({
  name: "continual-concepts.cns",
  init() {
    document.head.append(make("link", "", { rel: "stylesheet", href: new URL("cns.css", import.meta.url).href }));
  },
  setup() {
    onRefresh(() => {
      for (const node of everyNode()) {
        updateChart(node);
        updateStatePanel(node);
        checkPrompt(node);
      }
    });
    followServer(refresh);
    api.addEventListener("graphChanged", refresh); // by hand
    document.addEventListener("input", refresh); // a prompt that is being written
  },
  afterConfigureGraph: refresh, // loading, undoing, another tab
  nodeCreated(node) {
    if (node.comfyClass?.startsWith("CNS_")) foldAdvanced(node);
    for (const add of ADDED[node.comfyClass ?? ""] ?? []) add(node);
    refresh(); // once it is in the graph
  },
});
