// @ts-check
// The names by which server and page know each other's messages; cns_core/comfy_adapter/page/events.py has the same.
export const LIVE_EVENT = "cns.live";
export const LIVE_ROUTE = "/cns/live";
export const STATE_ROUTE = "/cns/state";
