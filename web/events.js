// Names under which server and page know each other's messages; cns_core/comfy_adapter/events.py has the same.
export const TRAINING_EVENT = "cns.training";
export const TRAININGS_ROUTE = "/cns/trainings";
export const HELLO_ROUTE = "/cns/hello";
export const STATE_ROUTE = "/cns/state";
export const STATE_EVENT = "cns.state";
export const STATES_ROUTE = "/cns/states";
