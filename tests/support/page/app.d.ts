/** What the pack uses of the editor's scripts/app.js, from frontend 1.32 on. Nodes are LiteGraph's, whoever draws them. */

export interface Widget {
  name: string;
  value: unknown;
  options?: { advanced?: boolean };
  element?: HTMLElement;
  inputEl?: HTMLElement;
  serialize?: boolean;
  advanced?: boolean;
  computeSize?(width: number): [number, number];
  callback?(value: unknown): void;
}

export interface DOMWidgetOptions {
  serialize: boolean;
  getMinHeight(): number;
  getMaxHeight(): number;
  selectOn: string[];
}

export interface Input {
  name: string;
  type: string;
  link?: number | null;
}

export interface Link {
  origin_id: number;
  origin_slot: number;
}

export interface Graph {
  id: string;
  rootGraph?: Graph;
  nodes?: GraphNode[];
  links?: Map<number, Link> | Record<number, Link>;
  getLink?(id: number): Link | undefined;
  getNodeById(id: number): GraphNode | null;
  add(node: GraphNode): void;
  setDirtyCanvas(foreground: boolean, background: boolean): void;
}

export interface Subgraph extends Graph {
  outputs?: { linkIds?: number[] }[];
}

export interface GraphNode {
  id: number | string;
  comfyClass?: string;
  graph?: Graph | null;
  subgraph?: Subgraph;
  mode: number;
  pos: [number, number];
  size: [number, number];
  inputs?: Input[];
  widgets?: Widget[];
  properties: Record<string, unknown>;
  showAdvanced?: boolean;
  computeSize(): [number, number];
  connect(output: number, target: GraphNode, input: string): unknown;
  setSize(size: [number, number]): void;
  addDOMWidget(name: string, type: string, element: HTMLElement, options: DOMWidgetOptions): Widget;
}

export interface Extension {
  name: string;
  init?(): void;
  setup?(): void;
  nodeCreated?(node: GraphNode): void;
  afterConfigureGraph?(): void;
}

export const app: {
  graph: Graph;
  rootGraph?: Graph;
  canvas: {
    graph: Graph;
    selected_nodes?: Record<string, GraphNode>;
    processMouseWheel?(event: WheelEvent): void;
  };
  extensionManager: { setting: { get(name: string): unknown } };
  registerExtension(extension: Extension): void;
};

declare global {
  const LiteGraph: { createNode(type: string): GraphNode };
}
