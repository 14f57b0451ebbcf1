// The states that nodes had when they ran last.
import { follow, newestOf } from "./connection.js";
import { STATE_EVENT, STATES_ROUTE } from "./events.js";

const states = new Map(); // workflow or page, and node -> message

export function followStates(listener) {
  follow(STATE_EVENT, STATES_ROUTE, (messages) => {
    for (const message of messages) {
      const key = `${message.workflow ?? message.client} ${message.node}`;
      if (!(states.get(key)?.number > message.number)) states.set(key, message);
    }
    listener();
  });
}

export function latestState(workflow, executionIds) {
  return newestOf(states.values(), workflow, executionIds)?.state;
}
