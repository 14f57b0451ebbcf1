// What the pack adds to the editor.
import { app } from "../../scripts/app.js";
import { everyNode } from "./graph.js";
import { checkPrompt } from "./prompt_help.js";
import { sayHello } from "./connection.js";
import { addStatePanel } from "./state_panel.js";
import { followStates } from "./states.js";
import { addChart } from "./training_chart.js";
import { followTrainings } from "./trainings.js";

const ADDED = {
  CNS_TrainStep: [addChart, addStatePanel],
  CNS_LoadState: [addStatePanel],
  CNS_ApplyState: [addStatePanel],
  CNS_InspectState: [addStatePanel],
};
const EVERY_MS = 1000;
const [WIDGET_HEIGHT, WIDGET_GAP] = [20, 4]; // as the canvas lays widgets out

function update() {
  for (const node of everyNode()) {
    node.cnsUpdateChart?.();
    node.cnsUpdateState?.();
  }
}

// Nodes drawn on the canvas know folded widgets too, but not that the server calls them advanced, and leave their room empty.
// "Show Advanced" in the node's menu unfolds them.
function foldAdvanced(node) {
  const advanced = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
  for (const widget of advanced) {
    widget.advanced = true;
    widget.computeSize = (width) => (node.showAdvanced ? [width, WIDGET_HEIGHT] : [0, -WIDGET_GAP]);
  }
  if (advanced.length) node.setSize([node.size[0], node.computeSize()[1]]);
}

app.registerExtension({
  name: "continual-concepts.cns",
  setup() {
    sayHello();
    followTrainings(update);
    followStates(update);
    // Nodes come and go by loading, undoing, pasting, tabs and subgraphs, and no event tells of all of them.
    setInterval(() => {
      if (document.hidden) return;
      update();
      everyNode().forEach(checkPrompt);
    }, EVERY_MS);
  },
  nodeCreated(node) {
    if (node.comfyClass?.startsWith("CNS_")) foldAdvanced(node);
    for (const add of ADDED[node.comfyClass] ?? []) add(node);
  },
});
