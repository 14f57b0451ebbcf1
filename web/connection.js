// What the server tells this page, and what the page missed.
import { api } from "../../scripts/api.js";
import { HELLO_ROUTE } from "./events.js";

// ``receive(messages, all)`` hears every message of an event, and all that the server remembers at the start and after the
// connection was down. Returns a function that asks for all of them again.
export function follow(event, route, receive) {
  let waiting; // messages that arrive while the answer is under way: it may be older than they are

  async function refresh() {
    if (waiting) return;
    waiting = [];
    try {
      const answer = await api.fetchApi(route);
      if (answer.ok) receive(await answer.json(), true);
    } catch {
      // the server is gone: the page asks again when it is back
    }
    const late = waiting;
    waiting = undefined;
    if (late.length) receive(late, false);
  }

  api.addEventListener(event, ({ detail }) => (waiting ? waiting.push(detail) : receive([detail], false)));
  api.addEventListener("reconnected", refresh);
  refresh(); // not awaited: the editor need not wait for it
  return refresh;
}

// Tells the server that this page draws the charts itself.
export function sayHello() {
  const hello = () => api.fetchApi(`${HELLO_ROUTE}?client_id=${encodeURIComponent(api.clientId)}`, { method: "POST" }).catch(() => {});
  api.addEventListener("reconnected", hello);
  hello();
}

// The newest of messages about a node, which has one execution id for each instance of the subgraph it lies in. One that was
// queued without its workflow belongs to the page that queued it.
export function newestOf(messages, workflow, executionIds) {
  const mine = [...messages].filter(
    (message) =>
      executionIds.includes(message.node) &&
      (message.workflow ? message.workflow === workflow : message.client === api.clientId),
  );
  return mine.sort((a, b) => b.number - a.number)[0];
}
