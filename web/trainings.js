// The trainings this page knows of, live and past.
import { follow, newestOf } from "./connection.js";
import { TRAINING_EVENT, TRAININGS_ROUTE } from "./events.js";

const trainings = new Map(); // number -> training
const [REMEMBERED, SAMPLES] = [32, 50];

// ``listener`` is called when something has changed.
export function followTrainings(listener) {
  const refresh = follow(TRAINING_EVENT, TRAININGS_ROUTE, (messages, all) => {
    if (all) endLost(messages);
    if (!messages.map(receive).every(Boolean)) refresh();
    for (const number of [...trainings.keys()].sort((a, b) => a - b).slice(0, -REMEMBERED)) trainings.delete(number);
    listener();
  });
}

// Adds what is new in a message, in whatever order they come; false where rows before it are missing.
function receive(message) {
  const { rows = [], samples = [], seconds = 0, state = "running" } = trainings.get(message.number) ?? {};
  if (message.first > rows.length) return false;
  const isNew = message.first + message.rows.length > rows.length;
  const seen = new Map([...samples, ...message.samples].map((sample) => [sample.step, sample]));
  trainings.set(message.number, {
    ...message,
    rows: isNew ? rows.slice(0, message.first).concat(message.rows) : rows,
    samples: [...seen.values()].sort((a, b) => a.step - b.step).slice(-SAMPLES),
    seconds: Math.max(seconds, message.seconds),
    state: state === "running" ? message.state : state,
  });
  return true;
}

// A training that the server no longer knows went down with it.
function endLost(messages) {
  const known = new Set(messages.map((message) => message.number));
  for (const [number, training] of trainings) {
    if (training.state === "running" && !known.has(number)) trainings.set(number, { ...training, state: "stopped" });
  }
}

export function latestTraining(workflow, executionIds) {
  return newestOf(trainings.values(), workflow, executionIds);
}

export function trainingOf(number) {
  return trainings.get(number);
}
