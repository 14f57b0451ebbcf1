/** What the pack uses of the editor's scripts/api.js. */

export const api: {
  clientId: string;
  fetchApi(route: string, options?: RequestInit): Promise<Response>;
  addEventListener(event: string, listener: (event: CustomEvent) => void): void;
};
